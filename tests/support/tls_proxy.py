"""nginx as it stands before a server in the README: it speaks TLS for it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from checkout import REPO, require_or_skip

WAIT_S = 20

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
        listen [::1]:%d ssl;
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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def nginx(folder: Path, port: int, address: str) -> Iterator[None]:
    """nginx at `port` of 127.0.0.1 and ::1, before the server at `address`."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if program is None or shutil.which("openssl") is None:
        require_or_skip("nginx and openssl")
    subprocess.run(CERTIFICATE.split(), cwd=folder, check=True, capture_output=True)
    readme = (REPO / "web" / "README.md").read_text(encoding="utf-8")
    (location,) = re.findall(r"^location / \{.*?^\}", readme, re.S | re.M)
    location = location.replace("http://127.0.0.1:8000", address)
    (folder / "nginx.conf").write_text(CONFIGURATION % (port, port, location))
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
        process.communicate(timeout=WAIT_S)


def wait_for(port: int, process: subprocess.Popen[str]) -> None:
    """Until something listens at `port`."""
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except ConnectionError:
            continue
    raise AssertionError(process.communicate()[1])
