"""Downloads from a real server over real connections that break, lie and change their mind."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, Proxy, serving

from models.fetching import FetchError, fetch

BYTES = os.urandom(3_000_000)
SHA256 = hashlib.sha256(BYTES).hexdigest()
GIT_SHA1 = hashlib.sha1(b"blob %d\0" % len(BYTES) + BYTES).hexdigest()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    server.files["/net.bin"] = BYTES
    with serving(server):
        yield server


def get(
    url: str, path: Path, *, size: int | None = len(BYTES), known_hash: str = SHA256
) -> list[int]:
    """Fetches; returns what progress was told."""
    told: list[int] = []
    fetch(url, path, size=size, known_hash=known_hash, on_bytes=told.append)
    return told


def test_a_file_arrives_whole_and_leaves_nothing_else(server: FileServer, tmp_path: Path) -> None:
    told = get(f"{server.url}/net.bin", tmp_path / "net.bin")
    assert (tmp_path / "net.bin").read_bytes() == BYTES
    assert [p.name for p in tmp_path.iterdir()] == ["net.bin"]
    assert told == sorted(told)
    assert told[-1] == len(BYTES)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    server: FileServer, tmp_path: Path
) -> None:
    server.break_after = 1_000_000
    get(f"{server.url}/net.bin", tmp_path / "net.bin")
    assert (tmp_path / "net.bin").read_bytes() == BYTES
    assert [ranged for _, ranged in server.asked] == [None, "bytes=1000000-", "bytes=2000000-"]


def test_without_any_progress_it_gives_up_and_the_next_call_goes_on(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / "net.bin.partial").write_bytes(BYTES[:700_000])
    (tmp_path / "net.bin.partial.etag").write_text('"first"')
    server.break_after = 0
    with pytest.raises(FetchError, match="cannot be reached"):
        get(f"{server.url}/net.bin", tmp_path / "net.bin")
    assert not (tmp_path / "net.bin").exists()
    server.break_after = None
    get(f"{server.url}/net.bin", tmp_path / "net.bin")
    assert (tmp_path / "net.bin").read_bytes() == BYTES
    assert server.asked[-1] == ("/net.bin", "bytes=700000-")


@pytest.mark.parametrize("fault", ["ignores ranges", "file changed", "ignores If-Range as well"])
def test_what_cannot_be_continued_starts_anew(
    server: FileServer, tmp_path: Path, fault: str
) -> None:
    partial = tmp_path / "net.bin.partial"
    partial.write_bytes(os.urandom(500_000))
    (tmp_path / "net.bin.partial.etag").write_text('"first"')
    if fault == "ignores ranges":
        server.ignore_ranges = True
    else:
        server.versions["/net.bin"] = '"second"'
        server.ignore_if_range = fault == "ignores If-Range as well"
    get(f"{server.url}/net.bin", tmp_path / "net.bin")
    assert (tmp_path / "net.bin").read_bytes() == BYTES


def test_more_than_there_is_starts_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "net.bin.partial").write_bytes(BYTES + b"more")
    (tmp_path / "net.bin.partial.etag").write_text('"first"')
    get(f"{server.url}/net.bin", tmp_path / "net.bin")
    assert (tmp_path / "net.bin").read_bytes() == BYTES


def test_of_unknown_version_nothing_is_continued(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "net.bin.partial").write_bytes(os.urandom(500_000))
    get(f"{server.url}/net.bin", tmp_path / "net.bin", size=None)
    assert (tmp_path / "net.bin").read_bytes() == BYTES
    assert server.asked == [("/net.bin", None)]


def test_wrong_bytes_are_not_kept(server: FileServer, tmp_path: Path) -> None:
    server.files["/net.bin"] = BYTES[:-1] + bytes([BYTES[-1] ^ 1])
    with pytest.raises(FetchError, match="hash"):
        get(f"{server.url}/net.bin", tmp_path / "net.bin")
    with pytest.raises(FetchError, match="3000000 bytes where 5 were expected"):
        get(f"{server.url}/net.bin", tmp_path / "net.bin", size=5)
    assert list(tmp_path.iterdir()) == []


def test_a_file_may_be_known_by_the_hash_that_git_gives_it(
    server: FileServer, tmp_path: Path
) -> None:
    get(f"{server.url}/net.bin", tmp_path / "net.bin", size=None, known_hash=GIT_SHA1)
    assert (tmp_path / "net.bin").read_bytes() == BYTES
    with pytest.raises(FetchError, match="hash"):
        get(f"{server.url}/net.bin", tmp_path / "again.bin", size=None, known_hash=GIT_SHA1[::-1])
    assert not (tmp_path / "again.bin").exists()


@pytest.mark.parametrize(
    "address",
    ["http://192.0.2.1/net.bin", "http://localhost.example/net.bin", "http://[2001:db8::1]/net.bin",
     "ftp://127.0.0.1/net.bin", "data:,net", "http:///net.bin"],
)  # fmt: skip
def test_nothing_comes_unprotected_not_even_by_a_redirect(
    server: FileServer, tmp_path: Path, address: str
) -> None:
    with pytest.raises(FetchError, match="is not encrypted: use https"):
        get(address, tmp_path / "net.bin")
    server.redirects["/net.bin"] = address
    # What urllib itself does not follow is an answer of 302.
    with pytest.raises(FetchError, match=r"is not encrypted: use https|server answers (302|404)"):
        get(f"{server.url}/net.bin", tmp_path / "net.bin")
    assert list(tmp_path.iterdir()) == []


def test_what_the_server_refuses_and_who_is_not_there_are_told(
    server: FileServer, tmp_path: Path
) -> None:
    with pytest.raises(FetchError, match="404 Not Found"):
        get(f"{server.url}/other.bin", tmp_path / "net.bin")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(FetchError, match=r"cannot be reached .*refused"):
            get(f"http://127.0.0.1:{port}/net.bin", tmp_path / "net.bin")
    with pytest.raises(FetchError, match=r"cannot be reached .*No such file"):
        get((tmp_path / "mirror/net.bin").as_uri(), tmp_path / "net.bin")


def test_a_file_address_is_copied(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/net.bin").write_bytes(BYTES)
    get((tmp_path / "mirror/net.bin").as_uri(), tmp_path / "net.bin")
    assert (tmp_path / "net.bin").read_bytes() == BYTES


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="not on this machine: /dev/full")
def test_a_full_disk_is_told_from_a_broken_network(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "net.bin.partial").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        get(f"{server.url}/net.bin", tmp_path / "net.bin")


def test_http_goes_through_the_proxy_but_where_it_must_not(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Proxy()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("http_proxy", proxy.url)
    with serving(proxy):
        get(f"{server.url}/net.bin", tmp_path / "one.bin")
        assert proxy.relayed == [f"{server.url}/net.bin"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        get(f"{server.url}/net.bin", tmp_path / "two.bin")
        assert len(proxy.relayed) == 1
    assert (tmp_path / "one.bin").read_bytes() == (tmp_path / "two.bin").read_bytes() == BYTES


def test_https_goes_through_a_tunnel_of_the_proxy(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    secure = FileServer()
    secure.files = server.files
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    proxy = Proxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("https_proxy", proxy.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(secure), serving(proxy):
        address = f"127.0.0.1:{secure.server_port}"
        get(f"https://{address}/net.bin", tmp_path / "net.bin")
        assert proxy.relayed == [f"CONNECT {address}"]
    assert (tmp_path / "net.bin").read_bytes() == BYTES


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, signed by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "certificate.pem"
    path.write_bytes(pem)
    return path
