"""Reading the input of a batch."""

import io
import time

import pytest

from frontend.batches import input as batch_input
from frontend.batches.input import Place, check, read_line
from frontend.batches.output import refusal
from tests.frontend.batches.made import ENDPOINT, line

LIMIT = 400


def errors_of(data: bytes) -> list[tuple[str, int | None, str | None]]:
    return [
        (error.code, error.line, error.param) for error in check(io.BytesIO(data), ENDPOINT, LIMIT).errors
    ]


def test_places_lead_to_the_lines_also_behind_blank_ones_a_mark_and_a_missing_last_newline():
    lines = [line("a"), line("b").replace(b"\n", b"\r\n"), line("ü").rstrip()]
    data = b"\xef\xbb\xbf" + lines[0] + b"\n \t\r\n" + lines[1] + lines[2]
    checked = check(io.BytesIO(data), ENDPOINT, LIMIT)
    assert not checked.errors
    assert [place.number for place in checked.places] == [1, 4, 5]
    found = [read_line(data[place.begin : place.begin + place.length]) for place in checked.places]
    assert [one.custom_id for one in found] == ["a", "b", "ü"]
    assert bytes(found[0].body) == b'{"model": "m"}'


@pytest.mark.parametrize(
    ("second", "code", "param"),
    [
        (b"{\n", "invalid_json_line", None),
        (b"[1]\n", "invalid_json_line", None),
        (b"\xff\n", "invalid_json_line", None),
        (b'{"custom_id": "b"} {"custom_id": "c"}\n', "invalid_json_line", None),
        (b'{"a": ' + b"[" * 150 + b"]" * 150 + b"\n", "invalid_json_line", None),
        (line(None), "missing_required_parameter", "custom_id"),
        (line(""), "missing_required_parameter", "custom_id"),
        (line("b", method=None), "missing_required_parameter", "method"),
        (line("b", url=None), "missing_required_parameter", "url"),
        (line("b", body=None), "missing_required_parameter", "body"),
        (line(7), "invalid_custom_id", "custom_id"),
        (line("a"), "duplicate_custom_id", "custom_id"),
        (line("b", method="GET"), "invalid_method", "method"),
        (line("b", url="/v1/embeddings"), "invalid_url", "url"),
        (line("b", url=["/v1/chat/completions"]), "invalid_url", "url"),
        (line("b", body=[1]), "invalid_body", "body"),
        (line("b", body="text"), "invalid_body", "body"),
        (line("b", body={"model": "?"}).replace(b"?", b"\xff"), "invalid_body", "body"),
        (line("b", more="x" * LIMIT), "line_too_long", None),
        (line("b", more="x" * LIMIT * 5), "line_too_long", None),
    ],
)
def test_what_is_wrong_is_told_with_its_line(second, code, param):
    assert errors_of(line("a") + second + line("c")) == [(code, 2, param)]


def test_an_id_of_the_greatest_length_is_fine_and_a_longer_one_is_not():
    assert not check(io.BytesIO(line("x" * 512)), ENDPOINT, 1000).errors
    assert check(io.BytesIO(line("x" * 513)), ENDPOINT, 1000).errors[0].code == "invalid_custom_id"


def test_a_line_of_the_greatest_length_is_fine():
    whole = line("b", more="")
    exact = line("b", more="x" * (LIMIT - len(whole)))
    assert len(exact) == LIMIT
    assert not errors_of(exact)
    assert errors_of(line("b", more="x" * (LIMIT - len(whole) + 1)))[0][0] == "line_too_long"


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_nothing_is_no_batch(data):
    assert errors_of(data) == [("empty_file", None, None)]


def test_too_many_lines(monkeypatch):
    monkeypatch.setattr(batch_input, "MAX_LINES", 3)
    lines = [line(str(number)) for number in range(5)]
    assert not errors_of(b"".join(lines[:3]))
    assert errors_of(b"".join(lines)) == [("too_many_requests", 4, None)]


def test_errors_are_bounded():
    assert len(errors_of(b"x\n" * 1000)) == 100


def test_the_model_is_known_if_all_lines_name_the_same():
    def model(*names: str) -> str | None:
        lines = (line(str(number), body={"model": name}) for number, name in enumerate(names))
        return check(io.BytesIO(b"".join(lines)), ENDPOINT, LIMIT).model

    assert model("m", "m") == "m"
    assert model("m", "n") is None


def test_a_place_after_a_line_that_is_too_long_is_right():
    data = line("b", more="x" * 1000) + line("c")
    checked = check(io.BytesIO(data), ENDPOINT, LIMIT)
    assert checked.places[1] == Place(2, data.index(line("c")), len(line("c")))


@pytest.mark.parametrize("field", ["custom_id", "method", "url", "model", "stream"])
def test_values_that_take_long_to_decode_are_not_decoded(field):
    slow = b"[" + b"1e308," * 300_000 + b"1]"  # takes seconds
    body = b'{"%b":%b}' % (field.encode(), slow)
    data = (
        line("a")[:-2] + b"," + body[1:]
        if field in ("custom_id", "method", "url")
        else (line("a", body="BODY").replace(b'"BODY"', body))
    )
    began = time.process_time()
    checked = check(io.BytesIO(data), ENDPOINT, 10**7)
    assert bool(checked.errors) == (field in ("custom_id", "method", "url"))
    assert refusal(body) is None
    assert time.process_time() - began < 1


def test_a_name_that_no_model_can_have_is_not_kept():
    checked = check(io.BytesIO(line("a", body={"model": "m" * 501})), ENDPOINT, 10**4)
    assert (checked.errors, checked.model) == ((), None)
