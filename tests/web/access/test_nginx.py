"""The server behind a real nginx that speaks TLS for it, set up as the README has it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import websockets
from checkout import REPO, require_or_skip
from party import TOKEN
from web_client import SOON_S, loading, served
from webrtc_client import SDP, offer_of, peer

from web.settings import Limits, ServerSettings

CONFIGURATION = """
daemon off;
master_process off;
pid pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp;
    uwsgi_temp_path temp; scgi_temp_path temp;
    server {
        listen 127.0.0.1:%d ssl;
        ssl_certificate cert.pem;
        ssl_certificate_key key.pem;
        %s
    }
}
"""

CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
)


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, port: int, address: str) -> Iterator[None]:
    """nginx at `port` of localhost, before the server at `address`."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if program is None or shutil.which("openssl") is None:
        require_or_skip("nginx and openssl")
    subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
    readme = (REPO / "web" / "README.md").read_text(encoding="utf-8")
    (location,) = re.findall(r"^location / \{.*?^\}", readme, re.S | re.M)
    location = location.replace("http://127.0.0.1:8000", address)
    (folder / "nginx.conf").write_text(CONFIGURATION % (port, location))
    (folder / "logs").mkdir()
    process = subprocess.Popen(
        [program, "-p", f"{folder}/", "-c", "nginx.conf"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.communicate(timeout=SOON_S)


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Until something listens at `port`."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionError:
            continue
    raise AssertionError(process.communicate()[1])
