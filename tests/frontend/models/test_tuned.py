"""What tuning found: kept for one model, device and machine, and weaker than what is set."""

from pathlib import Path

import msgspec
import pytest

from frontend.config import ModelSettings
from frontend.machine.hardware import machine_name
from frontend.models.manifest import Tuned
from frontend.models.reporter import Silent
from frontend.models.resolve import Preparer
from frontend.models.store import Store
from frontend.models.tuned import with_tuned

MODEL = ModelSettings(name="m", source="m")
TUNED = Tuned(
    properties={"INFERENCE_NUM_THREADS": "2", "ENABLE_CPU_PINNING": "NO"},
    settings={"max_num_batched_tokens": 512},
    goal="latency",
    gain=1.4,
    device="CPU",
    machine=machine_name(),
)


def changed(**settings) -> ModelSettings:
    return msgspec.structs.replace(MODEL, **settings)


def test_it_fills_what_is_not_set():
    found = with_tuned(MODEL, TUNED)
    assert found.properties == TUNED.properties
    assert found.max_num_batched_tokens == 512


def test_what_is_set_stays():
    found = with_tuned(
        changed(properties={"ENABLE_CPU_PINNING": "YES"}, threads=4, max_num_batched_tokens=64), TUNED
    )
    assert found.properties == {"ENABLE_CPU_PINNING": "YES"}
    assert (found.threads, found.max_num_batched_tokens) == (4, 64)


def test_a_kv_precision_that_is_set_stays():
    tuned = Tuned(properties={"KV_CACHE_PRECISION": "u8"})
    assert with_tuned(changed(kv_cache_precision="f16"), tuned).properties == {}


def test_settings_that_what_is_set_excludes_are_left_out():
    tuned = Tuned(properties={"A": "1"}, settings={"prompt_lookup": True})
    found = with_tuned(changed(cache_eviction_tokens=1024), tuned)
    assert (found.prompt_lookup, found.properties) == (False, {"A": "1"})


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def prepared(tmp_path: Path, ir: Path, tuned: Tuned, **settings):
    notes = Notes()
    store = Store(tmp_path, notes)
    store.tune(ir, tuned)
    model = ModelSettings(name="m", source=str(ir), **settings)
    return Preparer(store, notes, {}).prepare(model), notes.notes


def test_serving_takes_it(tmp_path, qwen3_ir):
    model, notes = prepared(tmp_path, qwen3_ir, TUNED)
    assert model.tuned
    assert model.settings.properties == TUNED.properties
    assert notes == []


def test_without_tuning_nothing_is_called_tuned(tmp_path, qwen3_ir):
    store = Store(tmp_path, Silent())
    store.tune(qwen3_ir, TUNED)
    store.tune(qwen3_ir, None)
    assert not Preparer(store, Silent(), {}).prepare(ModelSettings(name="m", source=str(qwen3_ir))).tuned


def test_whoever_tunes_starts_without_it(tmp_path, qwen3_ir):
    store = Store(tmp_path, Silent())
    store.tune(qwen3_ir, TUNED)
    model = ModelSettings(name="m", source=str(qwen3_ir))
    assert Preparer(store, Silent(), {}, tuned=False).prepare(model).settings == model


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [({}, {"device": "GPU"}, []), ({"machine": "a toaster"}, {}, ["another machine"])],
)
def test_serving_elsewhere_does_not_take_it(tmp_path, qwen3_ir, change, settings, words):
    model, notes = prepared(tmp_path, qwen3_ir, msgspec.structs.replace(TUNED, **change), **settings)
    assert (model.tuned, model.settings.properties) == (False, {})
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


def test_a_draft_model_that_is_gone_does_not_keep_the_model_from_serving(tmp_path, qwen3_ir):
    tuned = msgspec.structs.replace(TUNED, settings={"draft_model": str(tmp_path / "gone")})
    model, [note] = prepared(tmp_path, qwen3_ir, tuned)
    assert model.settings.draft_model is None
    assert model.settings.properties == TUNED.properties
    assert "gone" in note


def test_a_draft_model_that_was_removed_is_not_downloaded(tmp_path, qwen3_ir, monkeypatch):
    def pull(*_: object) -> Path:
        raise AssertionError("nobody asked for a download")

    monkeypatch.setattr(Preparer, "pull", pull)
    notes = Notes()
    store = Store(tmp_path, notes)
    store.tune(qwen3_ir, msgspec.structs.replace(TUNED, settings={"draft_model": "smollm2"}))
    model = Preparer(store, notes).prepare(ModelSettings(name="m", source=str(qwen3_ir)))
    assert (model.settings.draft_model, model.draft_path) == (None, "")
    assert model.settings.properties == TUNED.properties
    assert "nacelle pull smollm2" in notes.notes[0]
