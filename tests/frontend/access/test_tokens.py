"""JSON Web Tokens: which are accepted, whom they speak of, and the keys that a URL has."""

import asyncio
import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from frontend.access.authentication import Authentication, authentication_of
from frontend.access.jwks import RemoteKeys, parse_key_set
from frontend.access.scopes import check_scope
from frontend.access.tokens import ES, HS, RS, UnknownSigner, token_rules
from frontend.caller import Limits
from frontend.config import ConfigError, Settings
from frontend.errors import Forbidden, Unauthorized

SECRET = "s" * 64
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())


def pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def claims(**fields):
    return {"sub": "alice", "exp": time.time() + 60, **fields}


def token(key=SECRET, algorithm="HS256", headers=None, **fields) -> str:
    return jwt.encode(claims(**fields), key, algorithm, headers)


def refused(authentication: Authentication, text: str) -> str:
    with pytest.raises(Unauthorized) as caught:
        authentication.identify([text])
    assert text not in caught.value.message
    return caught.value.message


@pytest.fixture
def by_secret() -> Authentication:
    return authentication_of(Settings(jwt_secret=SECRET))


@pytest.fixture
def by_file(tmp_path):
    def made(key, **fields) -> Authentication:
        (tmp_path / "key.pem").write_text(pem(key))
        return authentication_of(Settings(jwt_public_key_file=str(tmp_path / "key.pem"), **fields))

    return made


def test_a_token_becomes_a_caller(by_secret):
    caller = by_secret.identify(
        [
            token(
                scope="openid nacelle:inference metrics",
                nacelle_models=["qwen*"],
                nacelle_limits={"requests_per_minute": 3},
                nacelle_weight=0.5,
            )
        ]
    )
    assert (caller.key_id, caller.scopes, caller.models) == ("alice", {"inference", "metrics"}, ("qwen*",))
    assert (caller.limits, caller.weight) == (Limits(requests_per_minute=3), 0.5)


def test_a_token_is_never_taken_for_a_key(by_secret):
    authentication = authentication_of(Settings(jwt_secret=SECRET, api_key="0123456789"))
    assert "id of an API key" in refused(authentication, token(sub="api_key"))
    assert authentication.identify([token()]).by_token
    assert not authentication.identify(["0123456789"]).by_token


@pytest.mark.parametrize(
    ("fields", "scopes"),
    [
        ({}, {"inference"}),
        ({"scope": ""}, set()),
        ({"scope": "openid"}, set()),
        ({"scp": ["admin"]}, {"admin"}),
        ({"scope": "inference", "scp": ["admin"]}, {"inference"}),
    ],
)
def test_a_token_has_the_scopes_that_it_states(by_secret, fields, scopes):
    assert by_secret.identify([token(**fields)]).scopes == scopes


@pytest.mark.parametrize("algorithm", HS)
def test_a_secret_checks_all_of_its_family(by_secret, algorithm):
    assert by_secret.identify([token(algorithm=algorithm)]).key_id == "alice"


@pytest.mark.parametrize(
    ("key", "algorithms", "wrong"),
    [(RSA, RS, "ES256"), (EC, ["ES256"], "RS256")],
    ids=["rsa", "ec"],
)
def test_a_public_key_checks_its_own_family(by_file, key, algorithms, wrong):
    authentication = by_file(key)
    for algorithm in algorithms:
        assert authentication.identify([token(key, algorithm)]).key_id == "alice"
    other = EC if wrong == "ES256" else RSA
    assert "algorithm is not accepted; sign it with" in refused(authentication, token(other, wrong))
    assert "signature" in refused(authentication, token(OTHER, "ES256") if key is EC else resigned(RSA))


def resigned(key) -> str:
    head, body, signature = token(key, "RS256").split(".")
    return ".".join((head, body, signature[:-8] + "AAAAAAAA"))


def encoded(part) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 1, ["HS256"], "HS256 "])
@pytest.mark.parametrize("signature", ["", "AAAA"])
def test_a_token_without_a_signature_is_never_accepted(by_secret, by_file, algorithm, signature):
    forged = f"{encoded({'typ': 'JWT', 'alg': algorithm})}.{encoded(claims())}.{signature}"
    for authentication in (by_secret, by_file(RSA)):
        assert refused(authentication, forged)


def test_a_public_key_is_never_taken_for_a_secret(by_file):
    for key in (RSA, EC):
        head, body = encoded({"typ": "JWT", "alg": "HS256"}), encoded(claims(scope="admin"))
        mac = hmac.new(pem(key).encode(), f"{head}.{body}".encode(), hashlib.sha256).digest()
        forged = f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        assert "algorithm is not accepted" in refused(by_file(key), forged)


def test_keys_in_the_header_of_a_token_are_not_followed(by_file):
    public = json.loads(ECAlgorithm.to_jwk(OTHER.public_key()))
    headers = {"jwk": public, "jku": "http://127.0.0.1:1/keys", "x5u": "http://127.0.0.1:1/c", "kid": "../x"}
    assert "signature" in refused(by_file(EC), token(OTHER, "ES256", headers))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"exp": time.time() - 31}, "has expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "not valid"),
        ({"exp": 10**400}, "not valid"),
        ({"nbf": time.time() + 86_400}, "not valid yet"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "x" * 201}, "sub"),
        ({"sub": 5}, "not valid"),
        ({"scope": 5}, "claim"),
        ({"scp": ["a", 5]}, "claim scp must be text"),
        ({"nacelle_models": "all"}, "nacelle_models must be a list of names"),
        ({"nacelle_models": [""]}, "nacelle_models must be a list of names"),
        ({"nacelle_models": ["m"] * 300}, "nacelle_models"),
        ({"nacelle_limits": {"rpm": 5}}, "nacelle_limits must be an object with nothing but requests_per"),
        ({"nacelle_limits": {"max_concurrent": -1}}, "nacelle_limits.max_concurrent must be a whole number"),
        ({"nacelle_weight": -1}, "nacelle_weight must be a number above 0"),
    ],
)
def test_a_token_whose_claims_are_wrong_is_refused(by_secret, fields, why):
    given = {name: value for name, value in claims(**fields).items() if value is not None}
    said = refused(by_secret, jwt.encode(given, SECRET, "HS256", sort_headers=False))
    assert why in said
    assert "`" not in said, "in words of ours"


@pytest.mark.parametrize("scope", ["", "openid profile"])
def test_a_token_that_lacks_a_scope_is_called_a_token(by_secret, scope):
    with pytest.raises(Forbidden) as caught:
        check_scope(by_secret.identify([token(scope=scope)]), "/v1/chat/completions")
    assert caught.value.message == (
        "this token lacks the scope inference; its claim scope must contain nacelle:inference"
    )
    assert caught.value.key_id == "alice"


def test_clocks_may_differ_by_the_leeway(by_secret):
    assert by_secret.identify([token(exp=time.time() - 20, nbf=time.time() - 99)])
    assert by_secret.identify([token(nbf=time.time() + 20)])
    strict = authentication_of(Settings(jwt_secret=SECRET, jwt_leeway_seconds=0))
    assert "expired" in refused(strict, token(exp=time.time() - 5))


def test_issuer_and_audience_are_required_where_they_are_set():
    authentication = authentication_of(
        Settings(jwt_secret=SECRET, jwt_issuer="https://id.example", jwt_audience=["nacelle", "other"])
    )
    good = {"iss": "https://id.example", "aud": ["x", "nacelle"]}
    assert authentication.identify([token(**good)]).key_id == "alice"
    for wrong, why in (
        ({"iss": "https://evil.example"}, "issuer"),
        ({"aud": "x"}, "audience"),
        ({"iss": None}, "iss"),
        ({"aud": None}, "aud"),
    ):
        given = {name: value for name, value in (claims(**good) | wrong).items() if value is not None}
        assert why in refused(authentication, jwt.encode(given, SECRET, "HS256"))


@pytest.mark.parametrize("text", ["ey..", "ey.a.b", "eyJ.eyJ.eyJ", "e.y.", "ey" + "." * 9, "ey.é.b"])
def test_what_only_looks_like_a_token_is_a_wrong_key(by_secret, text):
    assert refused(by_secret, text)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"jwt_secret": "x" * 64, "jwt_jwks_url": "https://a/b"}, "jwt_secret and jwt_jwks_url are both set"),
        ({"jwt_secret": "short"}, "at least 32 characters"),
        ({"jwt_secret": "x" * 64, "jwt_algorithms": ["RS256"]}, "a secret checks HS256"),
        ({"jwt_jwks_url": "https://a/b", "jwt_algorithms": ["HS256"]}, "a key set checks RS256"),
        (
            {"jwt_public_key_file": "/nosuch.pem"},
            r"jwt_public_key_file: cannot read /nosuch.pem: .*; name a public key",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(fields, why):
    with pytest.raises(ConfigError, match=why):
        authentication_of(Settings(**fields))


def test_a_key_file_must_fit_its_algorithms_and_be_strong(by_file, tmp_path):
    with pytest.raises(ConfigError, match=r"checks ES256; name one"):
        by_file(EC, jwt_algorithms=["RS256"])
    with pytest.raises(ConfigError, match="2048 bits"):
        by_file(rsa.generate_private_key(65537, 1024))
    (tmp_path / "x.pem").write_text("nothing")
    with pytest.raises(ConfigError, match="is not a public key in PEM"):
        authentication_of(Settings(jwt_public_key_file=str(tmp_path / "x.pem")))


# --- key sets ---


def entry(key, kid=None, **fields):
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), **({} if kid is None else {"kid": kid}), **fields}


def key_set(*entries) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_of_a_key_set_only_keys_for_signatures_count():
    keys = parse_key_set(
        key_set(
            entry(RSA, "r"),
            entry(EC, "e", alg="ES256"),
            entry(EC, "enc", use="enc"),
            {"kty": "oct", "k": "c2VjcmV0", "kid": "o"},  # a secret that everybody can read
            {"kty": "EC", "kid": "broken"},
            "nothing",
        ),
        (*HS, *RS, *ES),
    )
    assert {kid: key.algorithms for kid, key in keys.by_kid.items()} == {"r": RS, "e": ("ES256",)}
    for content in (b"[]", b"{}", b'{"keys": 5}', b"<html>"):
        with pytest.raises(ValueError):
            parse_key_set(content, RS)


class Url:
    def __init__(self, content: bytes = b""):
        self.content, self.fetched, self.now = content, 0, 0.0
        self.keys = RemoteKeys(self.fetch, 30.0, (*RS, *ES), "https://a/b", lambda: self.now)
        self.authentication = Authentication(signers=None, rules=token_rules(Settings()), remote=self.keys)

    async def fetch(self) -> bytes:
        self.fetched += 1
        if not self.content:
            raise OSError("no route to https://user:pass@a/b")
        return self.content

    async def identify(self, text: str) -> str | None:
        """As the gate does."""
        try:
            return self.authentication.identify([text]).key_id
        except UnknownSigner:
            if not await self.authentication.refresh():
                raise
            return self.authentication.identify([text]).key_id


def test_keys_of_a_url_are_fetched_once_and_again_for_a_new_key_but_not_too_often():
    async def scenario() -> None:
        url = Url(key_set(entry(EC, "one")))
        first = token(EC, "ES256", {"kid": "one"})
        assert set(await asyncio.gather(url.identify(first), url.identify(first))) == {"alice"}
        assert url.fetched == 1
        rotated = token(OTHER, "ES256", {"kid": "two"})
        for _ in range(3):
            with pytest.raises(UnknownSigner, match="'two' that is not known"):
                await url.identify(rotated)
        assert url.fetched == 1, "within the minimum time"
        url.content = key_set(entry(OTHER, "two"))
        url.now = 30.0
        assert await url.identify(rotated) == "alice"
        with pytest.raises(UnknownSigner):
            await url.identify(first)
        assert url.fetched == 2

    asyncio.run(scenario())


def test_a_url_that_does_not_answer_keeps_the_keys_and_its_password(caplog):
    async def scenario() -> None:
        url = Url(key_set(entry(EC, "one")))
        first = token(EC, "ES256", {"kid": "one"})
        assert await url.identify(first) == "alice"
        url.content, url.now = b"", 60.0
        with pytest.raises(UnknownSigner):
            await url.identify(token(OTHER, "ES256", {"kid": "x"}))
        assert await url.identify(first) == "alice"
        assert url.fetched == 2

    asyncio.run(scenario())
    assert "the keys of https://a/b could not be fetched" in caplog.text


def test_without_a_kid_there_must_be_one_key_that_fits():
    async def scenario() -> None:
        url = Url(key_set(entry(EC, "one"), entry(RSA, "two")))
        assert await url.identify(token(EC, "ES256")) == "alice"
        url = Url(key_set(entry(EC, "one"), entry(OTHER, "two")))
        with pytest.raises(UnknownSigner, match="names no key"):
            await url.identify(token(EC, "ES256"))

    asyncio.run(scenario())


def test_withdrawn_keys_end_after_an_hour():
    async def scenario() -> None:
        url = Url(key_set(entry(EC, "one")))
        first = token(EC, "ES256", {"kid": "one"})
        await url.identify(first)
        url.content, url.now = key_set(entry(OTHER, "two")), 3600.0
        assert await url.identify(first) == "alice"
        await url.keys.refresh()
        with pytest.raises(UnknownSigner):
            await url.identify(first)

    asyncio.run(scenario())
