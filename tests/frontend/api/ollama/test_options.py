"""Ollama's options, durations and names as what they are here."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.api.ollama.keep_alive import FOR_EVER, keep_alive_seconds
from frontend.api.ollama.names import tagged
from frontend.api.ollama.options import PARAMS, Options, sampling_of
from frontend.errors import BadRequest
from ipc.messages import Sampling


def of(**options) -> Sampling:
    return sampling_of(msgspec.convert(options, Options))


def test_each_option_has_its_parameter():
    sampling = of(
        num_predict=7,
        temperature=0.5,
        top_k=3,
        top_p=0.9,
        min_p=0.1,
        seed=5,
        stop=["a", "b"],
        repeat_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
    )
    assert sampling == Sampling(
        max_tokens=7,
        temperature=0.5,
        top_k=3,
        top_p=0.9,
        min_p=0.1,
        seed=5,
        stop=["a", "b"],
        repetition_penalty=1.1,
        presence_penalty=0.2,
        frequency_penalty=0.3,
    )


def test_what_is_not_given_is_left_to_the_model():
    assert of() == of(temperature=None, stop=None) == Sampling()


@pytest.mark.parametrize("num_predict", [-1, -2, 0])
def test_no_number_of_tokens_is_no_limit(num_predict):
    assert of(num_predict=num_predict).max_tokens is None


def test_other_spellings_of_values():
    assert of(num_predict=5.0).max_tokens == 5
    assert of(stop="END").stop == ["END"]
    assert of(top_k=-1).top_k == 0
    assert of(seed=-1).seed is None
    assert of(seed=-2).seed == 2**64 - 2
    assert (of(top_p=0).temperature, of(top_p=0).top_p) == (0.0, None)
    assert of(repeat_last_n=0, repeat_penalty=1.3).repetition_penalty == 1.0


def test_other_options_are_ignored():
    assert of(num_ctx=8192, mirostat=2, num_gpu=99, nonsense="x") == of()


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", "hot"), ("temperature", -1), ("top_p", 2), ("stop", [""]), ("num_ctx", "much")],
)
def test_a_wrong_value_is_an_error(option, value):
    with pytest.raises(msgspec.ValidationError, match=option):
        of(**{option: value})


def test_names_of_hosts_for_parameters_have_names_here():
    ours = {name.removeprefix("options.") for name in PARAMS.values()}
    assert ours <= set(Options.__struct_fields__)
    assert set(PARAMS) <= set(Sampling.__struct_fields__)


# --- keep_alive ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        ("0", 0.0),
        ("0s", 0.0),
        (300, 300.0),
        (1.5, 1.5),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("500ms", 0.5),
        ("+10s", 10.0),
        ("90", 90.0),
        (-1, FOR_EVER),
        ("-1", FOR_EVER),
        ("-1m", FOR_EVER),
        ("2540400h10m10s", FOR_EVER),
        (math.inf, FOR_EVER),
    ],
)
def test_keep_alive(value, seconds):
    assert keep_alive_seconds(value) == seconds


@pytest.mark.parametrize("value", ["5 apples", "m", "5m3", "nan", "--1m", "1" * 200, "five", "5 m"])
def test_a_keep_alive_that_is_no_duration_is_an_error_that_names_it(value):
    with pytest.raises(BadRequest) as caught:
        keep_alive_seconds(value)
    assert caught.value.param == "keep_alive"


@given(st.text(max_size=30) | st.floats())
def test_whatever_keep_alive_is_it_is_seconds_for_ever_or_an_error(value):
    try:
        seconds = keep_alive_seconds(value)
    except BadRequest:
        return
    assert seconds is None or seconds == FOR_EVER or 0 <= seconds < math.inf


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("smollm2", "smollm2:latest"),
        ("qwen3:0.6b", "qwen3:0.6b"),
        ("org/model", "org/model:latest"),
        ("host:5000/model", "host:5000/model:latest"),
    ],
)
def test_a_listed_name_has_a_tag(name, listed):
    assert tagged(name) == listed
