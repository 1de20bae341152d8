"""From settings to the launch of a replica."""

from typing import Any

import pytest

from frontend.config import ModelSettings, Settings
from frontend.models import placement
from frontend.models.placement import launch_of, quota_threads
from frontend.models.resolve import PreparedModel
from frontend.spool_folder import spool_folder
from ipc.messages import (
    Adapter,
    DraftModel,
    GenerationDefaults,
    Launch,
    PromptLookup,
    TextOptions,
    TranscriptionOptions,
    VectorOptions,
)


def launch(prepared: dict[str, Any] | None = None, **fields: Any) -> Launch[Any]:
    model = ModelSettings(name="m", source="m", **fields)
    given: dict[str, Any] = {"engine": "text", "path": "/ir"} | (prepared or {})
    return launch_of(PreparedModel(settings=model, **given), Settings(), 2**34, 1)


def options(prepared: dict[str, Any] | None = None, **fields: Any) -> TextOptions:
    found = launch(prepared, **fields).options
    assert isinstance(found, TextOptions)
    return found


@pytest.mark.parametrize(
    ("quota", "usable", "threads"),
    [(None, 8, 0), (8.0, 8, 0), (9.5, 8, 0), (2.5, 8, 2), (0.5, 8, 1)],
)
def test_a_cpu_quota_limits_the_threads(quota, usable, threads):
    assert quota_threads(quota, usable) == threads


def test_only_threads_that_are_left_open_follow_the_quota(monkeypatch):
    monkeypatch.setattr(placement, "cpu_quota", lambda: 0.5)
    assert launch().threads == 1
    assert launch(threads=3).threads == 3
    assert launch(device="GPU").threads == 0
    assert launch(properties={"INFERENCE_NUM_THREADS": "2"}).threads == 0


def test_without_options_the_engine_is_plain():
    plain = options()
    assert (plain.speculation, plain.adapter, plain.cache_eviction_tokens) == (None, None, None)
    assert (plain.generation_defaults, plain.chat_template) == (GenerationDefaults(), "")
    assert (plain.prefix_caching, plain.max_num_seqs) == (True, 64)


def test_a_draft_model_runs_where_the_model_does_unless_told_otherwise():
    draft = {"draft_path": "/draft"}
    assert options(draft, device="GPU.0").speculation == DraftModel(4, "/draft", "GPU.0")
    other = options(draft, device="GPU.0", draft_device="CPU", num_assistant_tokens=6)
    assert other.speculation == DraftModel(6, "/draft", "CPU")


def test_a_draft_model_goes_without_prefix_caching():
    assert not options({"draft_path": "/draft"}).prefix_caching


def test_where_the_host_cannot_plan_there_is_no_prefix_caching():
    looking = options(prompt_lookup=True, max_ngram_size=5)
    assert looking.speculation == PromptLookup(4, 5)
    assert not looking.prefix_caching
    assert not options(cache_eviction_tokens=4096).prefix_caching


def test_the_stateful_engine_takes_one_request_at_a_time():
    stateful = launch({"engine": "stateful"})
    assert stateful.engine == "stateful"
    assert (stateful.options.max_num_seqs, stateful.options.prefix_caching) == (1, False)


def test_the_rest_travels_as_it_is():
    sent = launch(
        {"adapter": Adapter("/a", 0.5), "chat_template": "{{ x }}"},
        cache_eviction_tokens=256,
        generation_defaults={"temperature": 0},
        kv_cache_precision="f16",
    )
    own = sent.options
    assert own.adapter == Adapter("/a", 0.5)
    assert (own.chat_template, own.cache_eviction_tokens) == ("{{ x }}", 256)
    assert own.generation_defaults.temperature == 0
    assert sent.properties == {"KV_CACHE_PRECISION": "f16"}


def test_a_transcription_host_gets_the_model_that_finds_speech_and_a_folder_for_recordings():
    folder = str(spool_folder(None))
    found = launch({"engine": "transcription", "voice_activity_model": "/vad.onnx"}).options
    assert found == TranscriptionOptions(voice_activity_model="/vad.onnx", spool_folder=folder)
    assert launch({"engine": "transcription"}).options == TranscriptionOptions(spool_folder=folder)


def test_other_tasks_get_the_settings_of_the_same_name():
    vectors = launch({"engine": "embeddings"}, context_length=128, pooling="cls", normalize=False).options
    assert vectors == VectorOptions(context_length=128, pooling="cls", normalize=False)
