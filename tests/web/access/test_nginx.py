"""The server behind a real nginx that speaks TLS for it, set up as the README has it."""

from __future__ import annotations

import json
import re
import ssl
from pathlib import Path

import httpx
import websockets
from party import TOKEN
from tls_proxy import free_port, nginx
from web_client import SOON_S, loading, served
from webrtc_client import SDP, offer_of, peer

from web.settings import Limits, ServerSettings


async def test_page_cookie_socket_and_signalling_come_through_nginx(tmp_path: Path) -> None:
    origin = f"https://localhost:{(port := free_port())}"
    settings = ServerSettings(
        token=TOKEN,
        origins=(origin,),
        trusted_proxies=("127.0.0.1",),
        limits=Limits(max_joins=3),
    )
    with loading() as load, served(settings, load) as (address, _), nginx(tmp_path, port, address):
        trust = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        headers = {"Origin": origin, "X-Forwarded-For": "192.0.2.1"}  # which is made up
        transport = httpx.AsyncHTTPTransport(verify=trust, local_address="127.0.0.5")
        async with httpx.AsyncClient(
            base_url=origin, transport=transport, timeout=SOON_S, headers=headers
        ) as browser:
            entered = await browser.get(f"/?token={TOKEN}")
            assert entered.status_code == 303
            assert entered.headers["set-cookie"].endswith("; SameSite=lax; Secure")
            assert "Live emotion" in (await browser.get("/")).text
            call = (await browser.post("/api/calls", json={})).json()
            cookies = {"Cookie": "; ".join(f"{name}={x}" for name, x in browser.cookies.items())}

            pc = peer()
            pc.createDataChannel("events")
            pc.addTransceiver("audio", "sendonly")
            offer = await offer_of(pc)
            answer = await browser.post(f"/whip?room={call['room']}", content=offer, headers=SDP)
            assert answer.status_code == 201, answer.text
            assert answer.text.startswith("v=0")
            assert re.fullmatch(r"/whip/\w+", answer.headers["location"])

            events = f"{origin.replace('http', 'ws')}/api/calls/{call['room']}/events"
            async with websockets.connect(
                events, ssl=trust, additional_headers=headers | cookies, open_timeout=SOON_S
            ) as socket:
                told = json.loads(await socket.recv())
                assert told["session"]["id"] == answer.headers["location"].removeprefix("/whip/")
            assert (await browser.delete(answer.headers["location"])).status_code == 200
            await pc.close()

            # It is 127.0.0.5 that has begun a call and a session, whatever it says.
            for made_up, status in (("192.0.2.2", 201), ("192.0.2.3", 429)):
                lie = {"X-Forwarded-For": made_up}
                assert (await browser.post("/api/calls", headers=lie)).status_code == status
