"""Engine options: what goes together, and what they say once read."""

from typing import Any

import msgspec
import pytest

from frontend.config import ConfigError, ModelSettings
from frontend.models.options import (
    adapter_of,
    check_options,
    engine_kind,
    generation_defaults_of,
    properties_of,
    served_names,
)
from ipc.messages import Adapter, GenerationDefaults


def model(**fields: Any) -> ModelSettings:
    return ModelSettings(**{"name": "m", "source": "m", **fields})


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "text"),
        ({"device": "GPU.0"}, "text"),
        ({"device": "NPU"}, "stateful"),
        ({"engine": "stateful"}, "stateful"),
        ({"engine": "continuous_batching"}, "text"),
        ({"source": "synthetic:5"}, "synthetic"),
        ({"source": "synthetic", "device": "NPU"}, "synthetic"),
    ],
)
def test_the_engine_follows_from_source_and_device_unless_it_is_named(fields, kind):
    assert engine_kind(model(**fields)) == kind


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"draft_model": "d", "prompt_lookup": True}, "draft_model and prompt_lookup exclude each other"),
        (
            {"prompt_lookup": True, "cache_eviction_tokens": 256},
            "prompt_lookup and cache_eviction_tokens exclude each other",
        ),
        ({"engine": "stateful", "draft_model": "d"}, "the stateful engine has no draft_model"),
        ({"device": "NPU", "prompt_lookup": True}, "the stateful engine has no prompt_lookup"),
        ({"device": "NPU", "engine": "continuous_batching"}, "an NPU has no continuous_batching engine"),
        (
            {"kv_cache_precision": "u8", "properties": {"KV_CACHE_PRECISION": "f16"}},
            "kv_cache_precision and the property KV_CACHE_PRECISION exclude each other",
        ),
        ({"adapters": {"a b": "x"}}, "adapters: 'a b' is not a name"),
        ({"generation_defaults": {"temprature": 1}}, "generation_defaults: no default 'temprature'; did you"),
    ],
)
def test_what_does_not_fit_together_is_named(fields, complaint):
    with pytest.raises(ConfigError) as raised:
        check_options(model(**fields))
    assert str(raised.value).startswith(f"model 'm': {complaint}")


@pytest.mark.parametrize(
    ("text", "adapter"),
    [
        ("a.safetensors", Adapter("a.safetensors", 1.0)),
        ("a.safetensors:0.5", Adapter("a.safetensors", 0.5)),
        ("/x:y/a.safetensors:-2e-1", Adapter("/x:y/a.safetensors", -0.2)),
        ("/x:y/a.safetensors", Adapter("/x:y/a.safetensors", 1.0)),
    ],
)
def test_an_adapter_has_a_file_and_perhaps_a_weight(text, adapter):
    assert adapter_of(text) == adapter


def test_a_weight_that_is_no_number_is_named():
    with pytest.raises(ConfigError, match=r"write FILE\[:ALPHA\], not 'a:1\.2\.3'"):
        adapter_of("a:1.2.3")


def test_each_adapter_is_a_model_of_its_own():
    assert served_names(model(adapters={"x": "x", "y": "y"})) == ["m", "m:x", "m:y"]


def test_generation_defaults_are_numbers_wherever_they_come_from():
    expected = GenerationDefaults(temperature=0.5, top_k=4, max_tokens=7)
    for given in (
        {"temperature": 0.5, "top_k": 4, "max_tokens": 7},
        {"temperature": "0.5", "top_k": "4", "max_tokens": "7"},
    ):
        assert generation_defaults_of(model(generation_defaults=given)) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", "nan"),
        ("temperature", "inf"),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_k", 1.5),
        ("min_p", 1),
        ("repetition_penalty", 0),
        ("max_tokens", 0),
        ("max_tokens", "many"),
    ],
)
def test_a_default_out_of_range_is_named(name, value):
    with pytest.raises(ConfigError, match=rf"^model 'm': generation_defaults {name}: must be "):
        generation_defaults_of(model(generation_defaults={name: value}))


def test_a_kv_cache_in_f32_needs_f32_arithmetic_unless_told_otherwise():
    assert properties_of(model(kv_cache_precision="u8")) == {"KV_CACHE_PRECISION": "u8"}
    assert properties_of(model(kv_cache_precision="f32")) == {
        "KV_CACHE_PRECISION": "f32",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    told = {"INFERENCE_PRECISION_HINT": "bf16"}
    assert properties_of(model(kv_cache_precision="f32", properties=told)) == told | {
        "KV_CACHE_PRECISION": "f32"
    }


def test_a_step_too_small_for_a_prompt_to_get_in_is_refused():
    least = ModelSettings(name="m", source="s", max_num_batched_tokens=64)
    check_options(least)
    small = msgspec.structs.replace(least, max_num_batched_tokens=63)
    with pytest.raises(ConfigError, match="max_num_batched_tokens must be at least 64 on CPU, not 63"):
        check_options(small)
    check_options(msgspec.structs.replace(small, prefix_caching=False))
    check_options(msgspec.structs.replace(small, device="GPU"))
