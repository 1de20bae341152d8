"""JSON Web Tokens of other services, as an alternative to API keys.

The settings determine the key and with it the family of algorithms: a secret verifies only HS tokens, a
public key only RS or ES tokens. A token cannot choose, and references in its header are never followed.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from frontend.access.claims import caller_with
from frontend.caller import Caller
from frontend.config import ConfigError, Settings
from frontend.errors import Unauthorized
from frontend.shortened import quoted, shown_path

HS = ("HS256", "HS384", "HS512")
RS = ("RS256", "RS384", "RS512")
ES = ("ES256", "ES384", "ES512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_SHORTEST = {"HS256": 32, "HS384": 48, "HS512": 64}  # bytes of a secret: as long as the digest
_MIN_RSA_BITS = 2048
_MAX_CHARACTERS = 16_384
_MAX_FILE_BYTES = 65_536


class UnknownSigner(Unauthorized):
    """The token names a key that is not known: it may be known later."""


class SigningKey(msgspec.Struct, frozen=True):
    key: Any  # as PyJWT takes it
    algorithms: tuple[str, ...]  # that this key may check


Signers = Callable[[str | None, str], SigningKey]  # by `kid` and `alg`; raises Unauthorized


class TokenRules(msgspec.Struct, frozen=True):
    issuer: str | None
    audience: tuple[str, ...]
    leeway_seconds: float


def looks_like_token(text: str) -> bool:
    return text.count(".") == 2 and text.startswith("ey") and len(text) <= _MAX_CHARACTERS


def caller_of(token: str, signers: Signers, rules: TokenRules) -> Caller:
    """The caller that a token identifies. Raises Unauthorized, which never quotes the token."""
    import jwt

    try:
        head = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise Unauthorized("the token is not a valid JSON Web Token") from None
    kid, algorithm = head.get("kid"), head.get("alg")
    if not isinstance(algorithm, str) or not (kid is None or isinstance(kid, str)):
        raise Unauthorized("the token is not a valid JSON Web Token")
    signer = signers(kid, algorithm)
    if algorithm not in signer.algorithms:
        allowed = ", ".join(signer.algorithms)
        raise Unauthorized(f"the token's algorithm is not accepted; sign it with {allowed}")
    try:
        claims = jwt.decode(
            token,
            signer.key,
            algorithms=list(signer.algorithms),
            issuer=rules.issuer,
            audience=list(rules.audience) or None,
            leeway=rules.leeway_seconds,
            options={"require": ["exp", "sub"], "verify_aud": bool(rules.audience)},
        )
        until = float(claims["exp"])  # not every number that is an int has room in one
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
        raise Unauthorized(_words(error)) from None
    return msgspec.structs.replace(caller_with(claims), until=until)


def _words(error: Exception) -> str:
    import jwt

    words: Sequence[tuple[type[Exception], str]] = (
        (jwt.ExpiredSignatureError, "the token has expired"),
        (jwt.ImmatureSignatureError, "the token is not valid yet"),
        (jwt.InvalidIssuerError, "the token's issuer is not accepted"),
        (jwt.InvalidAudienceError, "the token is for another audience"),
        (jwt.InvalidSignatureError, "the token's signature is not valid"),
    )
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token lacks the claim {error.claim}"
    return next((text for kind, text in words if isinstance(error, kind)), "the token is not valid")


# --- what the settings say ---


def is_configured(settings: Settings) -> bool:
    return any((settings.jwt_secret, settings.jwt_public_key_file, settings.jwt_jwks_url))


def check(settings: Settings) -> None:
    """Raises ConfigError for settings that contradict each other, or cannot be met."""
    names = ("jwt_secret", "jwt_public_key_file", "jwt_jwks_url")
    given = [name for name in names if getattr(settings, name)]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are both set: tokens are checked in one way; keep one")
    if not given:
        return
    if given[0] == "jwt_jwks_url" and not set(chosen(settings)) & {*RS, *ES}:
        raise ConfigError(
            "jwt_algorithms: a key set checks RS256 to RS512 and ES256 to ES512; name one of these"
        )
    try:
        import jwt  # noqa: F401
        from cryptography.hazmat.primitives import serialization  # noqa: F401
    except ImportError:
        raise ConfigError(f"{given[0]} needs the extra jwt; run pip install 'nacelle-server[jwt]'") from None


def token_rules(settings: Settings) -> TokenRules:
    return TokenRules(settings.jwt_issuer, tuple(settings.jwt_audience), settings.jwt_leeway_seconds)


def static_signers(settings: Settings) -> Signers | None:
    """For a secret or a public key of the settings. Raises ConfigError."""
    if settings.jwt_secret:
        key = _of_secret(settings.jwt_secret, chosen(settings))
    elif settings.jwt_public_key_file:
        key = _of_file(settings.jwt_public_key_file, chosen(settings))
    else:
        return None
    return lambda _kid, _algorithm: key


def chosen(settings: Settings) -> tuple[str, ...]:
    """The algorithms that the settings allow; a key uses only those of its own family."""
    return tuple(settings.jwt_algorithms) or (*HS, *RS, *ES)


def _of_secret(secret: str, algorithms: Sequence[str]) -> SigningKey:
    allowed = tuple(name for name in HS if name in algorithms and len(secret.encode()) >= _SHORTEST[name])
    if not allowed:
        wanted = [name for name in HS if name in algorithms]
        if not wanted:
            raise ConfigError("jwt_algorithms: a secret checks HS256, HS384 or HS512; name one of these")
        raise ConfigError(
            f"jwt_secret: {wanted[0]} needs at least {_SHORTEST[wanted[0]]} characters; use a longer secret"
        )
    return SigningKey(secret.encode(), allowed)


def _of_file(path: str, algorithms: Sequence[str]) -> SigningKey:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    from frontend.config_values import expanded

    setting = "jwt_public_key_file"
    where = f"{setting}: {shown_path(path)}"
    try:
        with Path(expanded(path, setting)).open("rb") as file:
            content = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{setting}: cannot read {shown_path(path)}: {error.strerror or error}; "
            "name a public key or certificate in PEM that the server's user may read"
        ) from error
    key: Any = None
    with contextlib.suppress(Exception):  # whatever the library raises for an invalid key
        key = load_pem_public_key(content)
    with contextlib.suppress(Exception):
        key = key or load_pem_x509_certificate(content).public_key()
    if key is None:
        raise ConfigError(f"{where} is not a public key in PEM; write one with openssl pkey -pubout")
    found = algorithms_of(key)
    if not found:
        raise ConfigError(f"{where}: use an RSA key of at least {_MIN_RSA_BITS} bits, or an EC key")
    allowed = tuple(name for name in found if name in algorithms)
    if not allowed:
        raise ConfigError(
            f"jwt_algorithms: the key in {shown_path(path)} checks {', '.join(found)}; name one"
        )
    return SigningKey(key, allowed)


def algorithms_of(key: Any) -> tuple[str, ...]:
    """The algorithms that a public key can verify; none if it is too weak or of another kind."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return RS if key.key_size >= _MIN_RSA_BITS else ()
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = _CURVES.get(key.curve.name)
        return () if name is None else (name,)
    return ()


def unknown_signer(kid: str | None) -> UnknownSigner:
    which = "names no key" if kid is None else f"is signed by a key {quoted(kid)} that is not known"
    return UnknownSigner(f"the token {which} here")
