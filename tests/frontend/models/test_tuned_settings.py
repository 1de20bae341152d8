"""What was tuned is weaker than every explicit setting."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from frontend.config import ModelSettings
from frontend.config_sources import load_settings
from frontend.config_values import Given
from frontend.models.manifest import Tuned
from frontend.models.resolve import Preparer
from frontend.models.store import Store
from frontend.models.tuned import with_tuned
from tests.frontend.models.test_inventory import put, recipe
from tests.frontend.models.tiny import convert

TUNED = Tuned(properties={"A": "tuned", "B": "tuned"}, settings={"threads": 4, "max_num_batched_tokens": 512})


def settings(source: str = "s", **changes: Any) -> ModelSettings:
    return ModelSettings(name="m", source=source, **changes)


def test_what_nobody_set_is_tuned():
    tuned = with_tuned(settings(), TUNED)
    assert (tuned.threads, tuned.max_num_batched_tokens) == (4, 512)
    assert tuned.properties == TUNED.properties


def test_what_somebody_set_stays():
    tuned = with_tuned(settings(threads=2, properties={"A": "mine"}), TUNED)
    assert tuned.threads == 2
    assert tuned.properties == {"A": "mine", "B": "tuned"}


def test_what_somebody_set_to_the_default_stays_too():
    options = {"threads": Given("0", "--threads")}
    loaded, _ = load_settings(model_options=options, models=["synthetic"])
    [model] = loaded.models
    tuned = with_tuned(model, TUNED)
    assert (tuned.threads, tuned.max_num_batched_tokens) == (0, 512)


@pytest.mark.parametrize(
    "unfit",
    [{"nosuch": 1}, {"threads": -5}, {"threads": "many"}, {"name": "other"}, {"explicit": []}],
    ids=str,
)
def test_what_does_not_fit_is_left_out(unfit):
    model = settings()
    assert with_tuned(model, Tuned(settings=unfit)) == model


def test_what_excludes_an_explicit_setting_is_left_out():
    model = settings(kv_cache_precision="f32", draft_model="d")
    tuned = Tuned(properties={"KV_CACHE_PRECISION": "u8", "A": "1"}, settings={"prompt_lookup": True})
    assert with_tuned(model, tuned) == msgspec.structs.replace(model, properties={"A": "1"})


def test_a_property_is_not_tuned_against_the_setting_that_means_the_same():
    tuned = Tuned(properties={"INFERENCE_NUM_THREADS": "4", "A": "1"})
    assert with_tuned(settings(threads=2), tuned).properties == {"A": "1"}
    assert with_tuned(settings(), tuned).properties == tuned.properties


def test_no_thread_count_is_tuned_against_an_explicit_0():
    tuned = Tuned(properties={"INFERENCE_NUM_THREADS": "4", "A": "1"})
    assert with_tuned(settings(threads=0, explicit=["threads"]), tuned).properties == {"A": "1"}


def test_what_an_explicit_setting_implies_is_not_tuned():
    tuned = Tuned(properties={"INFERENCE_PRECISION_HINT": "bf16", "A": "1"})
    assert with_tuned(settings(kv_cache_precision="f32"), tuned).properties == {"A": "1"}
    assert with_tuned(settings(kv_cache_precision="u8"), tuned).properties == tuned.properties


def test_what_was_measured_with_all_cpus_is_not_for_replicas_that_share_them():
    tuned = Tuned(
        properties={"INFERENCE_NUM_THREADS": "4", "ENABLE_CPU_PINNING": "YES", "A": "1"},
        settings={"threads": 4, "max_num_batched_tokens": 512},
    )
    found = with_tuned(settings(replicas=2), tuned)
    assert (found.threads, found.max_num_batched_tokens, found.properties) == (0, 512, {"A": "1"})
    assert with_tuned(settings(), tuned).properties["ENABLE_CPU_PINNING"] == "YES"


def test_a_model_of_the_store_is_prepared_as_it_was_tuned(tmp_path: Path, reporter):
    store = Store(tmp_path / "store", reporter, convert)
    put(store, recipe())
    store.copy("mine", "m")
    store.tune("m", TUNED)
    preparer = Preparer(store, reporter, {})
    assert preparer.prepare(settings(source="m")).settings.threads == 4
    assert preparer.prepare(settings(source="m", threads=1)).settings.threads == 1
    store.tune("m", None)
    assert preparer.prepare(settings(source="m")).settings.threads == 0
