"""HTTPS: files that fit, files that do not, and a renewal while the server runs."""

import asyncio
import datetime
import os
import ssl
from asyncio import sslproto
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from frontend.config import ConfigError, Settings
from frontend.http.protocol import HttpProtocol
from frontend.http.server import HttpServer, listen
from frontend.http.tls import Tls
from tests.frontend.http.serving import echo


def write_pair(folder, name="a", password=None):
    """NAME.pem and NAME.key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


def settings(folder, certificate="a.pem", key="a.key"):
    return Settings(tls_certificate=str(folder / certificate), tls_key=str(folder / key) if key else None)


@pytest.mark.parametrize(
    ("certificate", "key", "why"),
    [
        ("a.pem", "b.key", "tls_key: the key in .*b.key does not belong to the certificate in .*a.pem"),
        ("a.pem", "nosuch", "tls_key: cannot read .*nosuch: No such file.*; name a file in PEM"),
        ("nosuch", "a.key", "tls_certificate: cannot read .*nosuch: No such file.*; name a file in PEM"),
        ("a.key", "a.key", "tls_certificate: .*a.key has no certificate in PEM"),
        ("a.pem", "a.pem", "tls_key: .*a.pem has no private key"),
        ("a.pem", None, "tls_certificate: .*a.pem has no private key"),
        ("c.pem", "c.key", "tls_key: the key in .*c.key is encrypted"),
        (".", "a.key", "tls_certificate: .* is not a file"),
        ("pipe", "a.key", "tls_certificate: .*pipe is not a file"),
        ("a.pem", "pipe", "tls_key: .*pipe is not a file"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, certificate, key, why):
    for name in "ab":
        write_pair(tmp_path, name)
    write_pair(tmp_path, "c", b"passphrase")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=why):
        Tls(settings(tmp_path, certificate, key))


def test_a_key_without_a_certificate_is_refused_and_nothing_is_plain_http():
    with pytest.raises(ConfigError, match="set tls_certificate as well"):
        Tls(Settings(tls_key="a.key"))
    assert Tls(Settings()).context is None


def test_requests_are_answered_and_a_renewed_certificate_is_used(tmp_path):
    async def scenario() -> None:
        write_pair(tmp_path)
        tls = Tls(settings(tmp_path))
        server = HttpServer(echo, 1.0, tls.context)
        listener = listen("127.0.0.1", 0)
        task = asyncio.create_task(server.serve(sockets=[listener]))

        async def asked() -> bytes:
            trusted = ssl.create_default_context(cafile=tmp_path / "a.pem")
            trusted.check_hostname = False
            reader, writer = await asyncio.open_connection(*listener.getsockname(), ssl=trusted)
            writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
            answer = await reader.read()
            writer.close()
            return answer

        assert (await asked()).endswith(b"hello")
        write_pair(tmp_path)
        with pytest.raises(ssl.SSLError):
            await asked()
        tls.follow(settings(tmp_path))
        assert (await asked()).endswith(b"hello")
        (tmp_path / "a.key").write_text("broken")
        with pytest.raises(ConfigError):
            tls.follow(settings(tmp_path))
        assert (await asked()).endswith(b"hello"), "nothing was changed"
        server.stop()
        await task
        listener.close()

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_transport_of_tls_that_was_closed_twice_does_not_break_the_shutdown():
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        transport: Any = object.__new__(sslproto._SSLProtocolTransport)
        transport._closed = True
        transport._ssl_protocol = None  # as `close` leaves it the second time
        protocol = object.__new__(HttpProtocol)
        protocol.loop, protocol.transport, protocol._writing = loop, transport, None
        protocol._await_reader()
        assert protocol._writing is not None
        protocol._writing.cancel()

    asyncio.run(scenario())
