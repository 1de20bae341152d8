"""What a batch may do when its owner's key has changed since."""

import msgspec

from frontend.access import tokens
from frontend.access.authentication import Authentication
from frontend.access.keys import KeyRecord, unrestricted
from frontend.caller import ANYBODY, Caller

KEY = KeyRecord(id="alice", sha256="0" * 64)
BEFORE = Caller("alice", models=("old",), is_batch=True)


def renewed(*records: KeyRecord, now: float = 100.0, caller: Caller = BEFORE) -> Caller | None:
    return Authentication(records, now=lambda: now).renewed(caller)


def test_a_key_has_the_rights_of_now_and_stays_a_batch():
    record = msgspec.structs.replace(KEY, models=("new",), weight=2.0)
    assert renewed(unrestricted("other", "x"), record) == msgspec.structs.replace(
        record.caller, is_batch=True
    )


def test_a_key_that_was_revoked_removed_or_has_expired_has_none():
    assert renewed(msgspec.structs.replace(KEY, revoked=50.0)) is None
    assert renewed(msgspec.structs.replace(KEY, expires=100.0)) is None
    assert renewed(msgspec.structs.replace(KEY, expires=100.5)) is not None
    assert renewed(unrestricted("other", "x")) is None


def test_a_token_has_its_rights_until_it_expires():
    def signer(key_id: str | None, algorithm: str) -> tokens.SigningKey:
        raise AssertionError("nothing is signed here")

    def with_token(until: float) -> Caller | None:
        rules = tokens.TokenRules(None, (), leeway_seconds=10.0)
        known = Authentication(signers=signer, rules=rules, now=lambda: 100.0)
        return known.renewed(Caller("subject", by_token=True, until=until))

    assert with_token(90.5) is not None
    assert with_token(90.0) is None


def test_whoever_came_without_a_key_or_with_a_token_stays():
    assert renewed(KEY, caller=ANYBODY) is ANYBODY

    def signer(key_id: str | None, algorithm: str) -> tokens.SigningKey:
        raise AssertionError("nothing is signed here")

    with_tokens = Authentication((KEY,), signers=signer)
    token = Caller("subject", by_token=True)
    assert with_tokens.renewed(token) is token
    removed = Caller("removed")  # a key, although the server takes tokens as well
    assert with_tokens.renewed(removed) is None
