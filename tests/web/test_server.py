"""The server as somebody starts it: the link that it prints, TLS, and what it warns of."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from checkout import REPO
from web_client import SOON_S
from websockets.sync.client import ClientConnection, connect

pytestmark = pytest.mark.slow

TOKEN = "correct-horse-battery-staple"


SERVE = """
import logging, os, sys, tempfile
from pathlib import Path
from models.errors import UsageError
from web.server import serve
from web.settings import ServerSettings

def load():
    if "wait" in sys.argv:
        sys.stdin.readline()
        files = [open(os.devnull) for _ in range(60)]  # as models do
    raise UsageError("no models are needed here")

logging.basicConfig()
options = eval(sys.argv[1])
settings = ServerSettings(port=0, store=Path(tempfile.mkdtemp()) / "store.sqlite", **options)
serve(settings, load, told=lambda address: print(address, flush=True), browser=False)
"""


@dataclass(frozen=True)
class Started:
    """A server as somebody starts it: the link it printed, and in the end what it complained of."""

    link: str
    process: subprocess.Popen[str]

    def end(self) -> str:
        self.process.terminate()
        return self.process.communicate(timeout=SOON_S)[1]


def start(options: dict[str, Any], *more: str, **how: Any) -> Started:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, repr(options), *more],
        cwd=REPO,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )
    assert process.stdout is not None
    return Started(process.stdout.readline().strip(), process)


def is_let_in(feed: ClientConnection) -> bool:
    """A session begins, or would if it were not known by then that there are no models."""
    feed.send('{"type": "start"}')
    told = json.loads(feed.recv())
    return told.get("type") == "started" or told["error"]["code"] == "models_failed"


def test_a_server_for_others_makes_a_token_and_a_certificate() -> None:
    server = start({"host": "0.0.0.0", "self_signed": True})
    link = urlsplit(server.link)
    token = link.query.removeprefix("token=")
    try:
        assert link.scheme == "https"
        assert link.hostname != "0.0.0.0"
        assert len(token) >= 32
        pem = ssl.get_server_certificate((str(link.hostname), link.port or 0))
        trust = ssl.create_default_context(cadata=pem)  # of this one alone; and its names count
        base = f"https://{link.netloc}"
        with httpx.Client(base_url=base, verify=trust, timeout=SOON_S) as browser:
            entered = browser.get(f"/?{link.query}")
            assert entered.status_code == 303
            assert entered.headers["set-cookie"].endswith("; Secure")
            assert browser.get("/").status_code == 200
            assert browser.get("/api/sessions").json() == {"sessions": []}
            assert httpx.get(f"{base}/api/sessions", verify=trust).status_code == 401
            assert browser.get(f"https://localhost:{link.port}/healthy").status_code == 401
            wrong = f"/?token={token[:-1]}-"
            assert httpx.get(base + wrong, verify=trust).status_code == 401
        headers = {"Authorization": f"Bearer {token}", "Origin": base}
        address = f"wss://{link.netloc}/api/ingest"
        with connect(address, ssl=trust, additional_headers=headers, open_timeout=SOON_S) as feed:
            assert is_let_in(feed)
    finally:
        said = server.end()
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()
    assert fingerprint.hex(":").upper() in said
    assert token not in said
    assert token[:-1] not in said


def test_a_server_for_others_without_tls_is_warned_of() -> None:
    server = start({"host": "0.0.0.0", "token": TOKEN})
    try:
        link = urlsplit(server.link)
        assert link.scheme == "http"
        assert httpx.get(server.link, timeout=SOON_S).status_code == 303
    finally:
        said = server.end()
    assert said.count("without TLS") == 1
    assert TOKEN not in said


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_server_of_this_computer_is_open_and_warns_of_nothing(host: str) -> None:
    server = start({"host": host})
    try:
        link = urlsplit(server.link)
        assert (link.query, link.hostname) == ("", host)
        assert httpx.get(server.link, timeout=SOON_S).status_code == 200
        made = httpx.post(f"{server.link}api/calls", json={}, headers={"Origin": server.link})
        assert made.status_code == 201
        address = f"ws://{link.netloc}/api/ingest"
        with connect(address, origin=f"http://{link.netloc}", open_timeout=SOON_S) as feed:
            assert is_let_in(feed)
    finally:
        said = server.end()
    assert "TLS" not in said


def test_it_loads_its_models_and_answers_while_a_stranger_holds_all_sockets_there_are() -> None:
    resource = pytest.importorskip("resource")  # which Windows has not

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 256))

    server = start({}, "wait", preexec_fn=few_files)
    link = urlsplit(server.link)
    try:
        if sys.platform == "linux":
            limit = psutil.Process(server.process.pid).rlimit(psutil.RLIMIT_NOFILE)
            assert limit == (256, 256), "it takes what it may have"
        with ExitStack() as strangers:
            for _ in range(500):
                stranger = socket.create_connection((link.hostname, link.port), SOON_S)
                strangers.enter_context(stranger).sendall(b"GET / HTTP/1.1\r\n")
            assert httpx.get(f"{server.link}healthz", timeout=SOON_S).json() == {
                "status": "loading"
            }
            assert server.process.stdin is not None
            server.process.stdin.write("\n")
            server.process.stdin.flush()
            while (health := httpx.get(f"{server.link}healthz", timeout=SOON_S)).is_success:
                time.sleep(0.1)
            assert health.json()["error"]["message"] == "no models are needed here"
    finally:
        said = server.end()
    assert said.count("\n") < 10, said[-2000:]
