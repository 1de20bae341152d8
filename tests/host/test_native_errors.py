"""What OpenVINO raises, read for people and for decisions. GenAI's own errors, not copies of them."""

from typing import Any

import openvino_genai as genai
import pytest

from host.native_errors import grammar_fault, is_wedged, refused_parameter, summary


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"max_new_tokens": 0}, "max_tokens"),
        ({"max_new_tokens": 5, "min_new_tokens": 6}, "min_tokens"),
        ({"do_sample": True, "temperature": -1.0}, "temperature"),
        ({"do_sample": True, "top_p": 2.0}, "top_p"),
        ({"do_sample": True, "min_p": 1.0}, "min_p"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"presence_penalty": 3.0}, "presence_penalty"),
        ({"frequency_penalty": -3.0}, "frequency_penalty"),
    ],
)
def test_a_refused_sampling_value_is_named(values: dict[str, Any], param: str) -> None:
    config = genai.GenerationConfig(**{"max_new_tokens": 8, **values})
    with pytest.raises(RuntimeError) as caught:
        config.validate()
    assert refused_parameter(caught.value) == param


def test_other_errors_name_no_parameter() -> None:
    assert refused_parameter(RuntimeError("bad temperature of the CPU")) is None


def test_the_summary_of_a_native_error_holds_no_source_path() -> None:
    with pytest.raises(RuntimeError) as caught:
        genai.GenerationConfig(max_new_tokens=0).validate()
    assert summary(caught.value).startswith("'max_new_tokens' must be greater than 0")


def test_an_error_without_words_is_named_by_its_type() -> None:
    assert summary(KeyError()) == "KeyError"


@pytest.mark.parametrize(
    ("text", "wedged"),
    [
        ("[GPU] clFlush, error code: -5 CL_OUT_OF_RESOURCES", True),
        ("L0 zeFenceHostSynchronize result: ZE_RESULT_ERROR_DEVICE_LOST, code 0x70000001", True),
        ("Cannot find field $defs", False),
    ],
)
def test_errors_that_wedge_a_device_are_known(text: str, wedged: bool) -> None:
    assert is_wedged(RuntimeError(text)) is wedged


def test_a_grammar_that_does_not_compile_is_told_without_where() -> None:
    error = RuntimeError(
        '[14:22:34] /home/x/xgrammar-src/cpp/regex_converter.cc:75: Regex error at 3: "(" is open.\n'
    )
    assert grammar_fault(error) == 'Regex error at 3: "(" is open.'
    assert grammar_fault(RuntimeError("Exception from /x/xgrammar_backend.cpp:62:\nBad tag\n")) == "Bad tag"
    assert grammar_fault(RuntimeError("Check 'a' failed at src/x.cpp:5")) is None
