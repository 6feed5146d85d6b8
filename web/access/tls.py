"""TLS: with a certificate that is given, or one that is made at start.

In: settings. Out: what uvicorn needs to speak TLS, and the fingerprint of a certificate that was
made.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from models.errors import UsageError
from web.settings import ServerSettings

VALID = datetime.timedelta(days=397)
"""Browsers take no certificate for longer."""


def context_of(settings: ServerSettings) -> tuple[ssl.SSLContext | None, str | None]:
    """How the server speaks TLS, if it does; and the SHA-256 fingerprint if it is self-signed.

    Raises:
        UsageError: the certificate or the key cannot be read, or they do not fit together.
    """
    if settings.certificate is not None and settings.key is not None:
        return _loaded(settings.certificate, settings.key), None
    if settings.self_signed:
        return _self_signed(_names(settings))
    return None, None


def _loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    def password() -> str:
        raise UsageError(f"{key} is locked by a password: give a key without one")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        for file in (certificate, key):
            file.read_bytes()  # OpenSSL does not say which of them it could not read
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        raise UsageError(
            f"{certificate} and {key} are no certificate and its key in PEM form "
            f"({error.reason or error})"
        ) from None
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read ({error.strerror})") from None
    return context


def _self_signed(names: list[str]) -> tuple[ssl.SSLContext, str]:
    """TLS for so many names and addresses of this machine; and the certificate's fingerprint."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Live emotion analysis")])
    now = datetime.datetime.now(datetime.timezone.utc)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # clocks differ
        .not_valid_after(now + VALID - datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(map(_general, names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL takes it from a file alone. Nobody else may look into the folder, and it goes at once.
    with tempfile.TemporaryDirectory(prefix="tls-") as folder:
        file = Path(folder, "both.pem")
        file.write_bytes(certificate.public_bytes(pem) + private)
        context.load_cert_chain(file)
    return context, certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _names(settings: ServerSettings) -> list[str]:
    """Under what this server may be reached: names, and the addresses of the machine."""
    addresses = [
        address.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    origins = [urlsplit(origin).hostname or "" for origin in settings.origins]
    own = ["localhost", "127.0.0.1", "::1", socket.gethostname(), settings.host]
    every = dict.fromkeys(own + addresses + origins)
    return [name for name in every if name.isascii() and name not in ("", "0.0.0.0", "::")]


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
