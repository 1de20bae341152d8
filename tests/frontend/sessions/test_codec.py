"""The layout of stored records: versions are told apart, and damage is found, whatever it is."""

import logging
import struct
import zlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from frontend.sessions.codec import Codec

VALUE: dict[str, object] = {"text": "häuser", "numbers": [1, 2.5, None]}


def codec(version: int = 1) -> Codec[dict[str, object]]:
    return Codec(
        "thing", version, msgspec.msgpack.encode, {1: msgspec.msgpack.Decoder(dict[str, object]).decode}
    )


def record(version: int, body: bytes) -> bytes:
    """A record with a valid header around any body."""
    return struct.pack(">BHI", 0xC1, version, zlib.crc32(struct.pack(">H", version) + body)) + body


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno == logging.WARNING]


@given(st.dictionaries(st.text(), st.none() | st.integers(0, 2**64 - 1) | st.text(), max_size=3))
def test_a_value_is_decoded_as_it_was_encoded(value):
    assert codec().decode("k", codec().encode(value)) == value


def test_the_header_is_as_documented():
    assert codec().encode(VALUE) == record(1, msgspec.msgpack.encode(VALUE))


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xc1")
@example(record(1, b""))
@example(record(1, b"\xa2\xff\xff"))  # not UTF-8
@example(record(1, b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0"))  # nested too deeply
def test_random_bytes_are_absent_with_and_without_a_valid_header(data):
    assert codec().decode("k", data) is None
    decoded = codec().decode("k", record(1, data))
    assert decoded is None or isinstance(decoded, dict)


@given(st.integers(min_value=0))
def test_a_truncated_record_is_absent(length):
    whole = codec().encode(VALUE)
    assert codec().decode("k", whole[: length % len(whole)]) is None


@given(st.integers(min_value=0), st.integers(1, 255), st.binary(max_size=8))
def test_a_record_with_any_byte_changed_or_added_is_absent(position, difference, added):
    whole = bytearray(codec().encode(VALUE))
    longer = bytes(whole) + added
    assert codec().decode("k", longer) == (None if added else VALUE)
    whole[position % len(whole)] ^= difference
    assert codec().decode("k", bytes(whole)) is None


@pytest.mark.parametrize("version", [0, 2, 65_535])
def test_a_record_of_an_unknown_version_is_absent(version, caplog):
    assert codec().decode("k", record(version, msgspec.msgpack.encode(VALUE))) is None
    assert warnings(caplog) == [
        f"ignoring the stored thing 'k': its layout has the unknown version {version}"
    ]


def test_a_record_from_before_there_were_versions_is_absent(caplog):
    mine = codec()
    for data in (msgspec.msgpack.encode(VALUE), msgspec.json.encode(VALUE)):
        assert mine.decode("k", data) is None
    assert warnings(caplog) == ["ignoring the stored thing 'k': it has no version"]


def test_an_older_layout_with_a_reader_is_read_and_written_back_in_the_new_one():
    def read_old(body: bytes) -> dict[str, object]:
        return {"text": msgspec.msgpack.decode(body, type=str)}

    new = Codec(
        "thing",
        2,
        msgspec.msgpack.encode,
        {1: read_old, 2: msgspec.msgpack.Decoder(dict[str, object]).decode},
    )
    value = new.decode("k", record(1, msgspec.msgpack.encode("hello")))
    assert value == {"text": "hello"}
    assert new.encode(value) == record(2, msgspec.msgpack.encode(value))
    assert codec().decode("k", new.encode(value)) is None  # an older server that shares the store


def test_what_cannot_be_read_is_logged_once_and_without_its_content(caplog):
    enum = Codec("thing", 1, msgspec.json.encode, {1: lambda body: msgspec.json.decode(body, type=int)})
    mine = codec()
    for _ in range(3):
        assert enum.decode("a", record(1, b'"a secret"')) is None
        assert mine.decode("b", codec().encode({"a secret": 1})[:-1]) is None
        assert mine.decode("c", b"a secret") is None
    assert sorted(warnings(caplog)) == [
        "ignoring the stored thing 'a': it does not match its layout",
        "ignoring the stored thing 'b': it is damaged",
        "ignoring the stored thing 'c': it has no version",
    ]
    assert "secret" not in caplog.text


def test_the_memory_for_reported_keys_is_bounded():
    mine = codec()
    for number in range(2500):
        mine.decode(str(number), b"")
    assert len(mine._reported) <= 1000


def test_a_defect_in_a_reader_is_not_taken_for_a_damaged_record():
    def defective(body: bytes) -> int:
        raise AttributeError("defect")

    with pytest.raises(AttributeError):
        Codec("thing", 1, msgspec.json.encode, {1: defective}).decode("k", record(1, b"1"))
