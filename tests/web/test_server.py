"""The server as somebody starts it: the link that it prints, TLS, and what it warns of."""

from __future__ import annotations

import hashlib
import json
import ssl
import subprocess
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from checkout import REPO
from web_client import SOON_S
from websockets.sync.client import connect

pytestmark = pytest.mark.slow

TOKEN = "correct-horse-battery-staple"


SERVE = """
import logging, sys, tempfile
from pathlib import Path
from models.errors import UsageError
from web.server import serve
from web.settings import ServerSettings

def load():
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


def start(options: dict[str, Any]) -> Started:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, repr(options)],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return Started(process.stdout.readline().strip(), process)


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
        with connect(address, ssl=trust, additional_headers=headers, open_timeout=SOON_S) as socket:
            socket.send('{"type": "start"}')
            assert json.loads(socket.recv())["error"]["code"] == "models_failed"
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


def test_a_server_of_this_computer_is_open_and_warns_of_nothing() -> None:
    server = start({})
    try:
        assert urlsplit(server.link).query == ""
        assert httpx.get(server.link, timeout=SOON_S).status_code == 200
    finally:
        said = server.end()
    assert "TLS" not in said
