"""HTTPS: the certificate of the server, which is read again when the settings are."""

import os
import ssl
import stat
from pathlib import Path

from frontend.config import ConfigError, Settings
from frontend.config_values import expanded
from frontend.shortened import shown_path


class Tls:
    """What new connections use."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError."""
        self.context = context_of(settings)

    def follow(self, settings: Settings) -> None:
        """Use what the files hold now, for new connections. Raises ConfigError where nothing was changed."""
        if self.context is not None and context_of(settings) is not None:
            _load(self.context, settings)


def context_of(settings: Settings) -> ssl.SSLContext | None:
    """None: plain HTTP. Raises ConfigError."""
    if settings.tls_certificate is None:
        if settings.tls_key is not None:
            raise ConfigError("tls_key is set without a certificate; set tls_certificate as well")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # TLS 1.2 or newer
    context.set_alpn_protocols(["http/1.1"])
    _load(context, settings)
    return context


def certificate_path(settings: Settings) -> Path:
    """Of settings with a certificate. Raises ConfigError."""
    assert settings.tls_certificate is not None
    return expanded(settings.tls_certificate, "tls_certificate")


def _load(context: ssl.SSLContext, settings: Settings) -> None:
    certificate = certificate_path(settings)
    key = certificate if settings.tls_key is None else expanded(settings.tls_key, "tls_key")
    key_setting = "tls_certificate" if settings.tls_key is None else "tls_key"
    for name, path in (("tls_certificate", certificate), (key_setting, key)):
        _check_readable(name, path)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _Encrypted:
        raise ConfigError(
            f"{key_setting}: the key in {shown_path(key)} is encrypted; write it without a passphrase, "
            "readable by the server's user alone"
        ) from None
    except ssl.SSLError as error:
        raise ConfigError(_words(error, certificate, key_setting, key)) from error
    except OSError as error:
        raise _unreadable(key_setting, key, error) from error


class _Encrypted(Exception):
    """A key cannot be read without a passphrase."""


def _no_password() -> str:
    raise _Encrypted  # else OpenSSL would ask in the terminal


def _check_readable(name: str, path: Path) -> None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not block
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise ConfigError(f"{name}: {shown_path(path)} is not a file; name a file in PEM")
        finally:
            os.close(fd)
    except OSError as error:
        raise _unreadable(name, path, error) from error


def _unreadable(name: str, path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{name}: cannot read {shown_path(path)}: {error.strerror or error}; name a file in PEM that the "
        "server's user may read"
    )


def _words(error: ssl.SSLError, certificate: Path, key_setting: str, key: Path) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"{key_setting}: the key in {shown_path(key)} does not belong to the certificate in "
            f"{shown_path(certificate)}; name the pair"
        )
    if _has_certificate(certificate):
        return f"{key_setting}: {shown_path(key)} has no private key in PEM that can be used; name its file"
    return f"tls_certificate: {shown_path(certificate)} has no certificate in PEM; name the file of the chain"


def _has_certificate(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ssl.SSLError):
        return False
    return True
