"""Certificates that are given: taken, or refused in one line."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from models.errors import UsageError
from web.access.tls import context_of
from web.settings import ServerSettings

PEM = serialization.Encoding.PEM


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a certificate, its key, the same under a password, and files that are wrong."""
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.org")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "good.pem").write_bytes(certificate.public_bytes(PEM))
    for file, of, lock in (
        ("key.pem", key, serialization.NoEncryption()),
        ("other.pem", other, serialization.NoEncryption()),
        ("locked.pem", key, serialization.BestAvailableEncryption(b"sesame")),
    ):
        data = of.private_bytes(PEM, serialization.PrivateFormat.PKCS8, lock)
        (tmp_path / file).write_bytes(data)
    (tmp_path / "words.pem").write_text("no certificate")
    return tmp_path


def test_a_certificate_and_its_key_are_taken(files: Path) -> None:
    settings = ServerSettings(certificate=files / "good.pem", key=files / "key.pem")
    context, fingerprint = context_of(settings)
    assert context is not None
    assert fingerprint is None
    assert context_of(ServerSettings()) == (None, None)


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("good.pem", "other.pem", "no certificate and its key in PEM form"),
        ("words.pem", "key.pem", "no certificate and its key in PEM form"),
        ("good.pem", "words.pem", "no certificate and its key in PEM form"),
        ("nowhere.pem", "key.pem", "nowhere.pem cannot be read"),
        ("good.pem", ".", "cannot be read"),
        ("good.pem", "locked.pem", "locked by a password"),
    ],
)
def test_others_are_refused_in_one_line(files: Path, certificate: str, key: str, said: str) -> None:
    settings = ServerSettings(certificate=files / certificate, key=files / key)
    with pytest.raises(UsageError, match=said) as told:
        context_of(settings)
    assert "\n" not in str(told.value)
