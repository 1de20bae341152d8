"""Tuning with real hosts: the synthetic engine where only speeds matter, a tiny model for its results."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.tuning.candidates import Subject
from bench.tuning.configuration import Change, Configuration, Knob, Value
from bench.tuning.run import Plan, Tuner, Tuning, describe
from bench.tuning.search import Search
from frontend.config import ModelSettings, Settings
from frontend.models.placement import launch_of
from frontend.models.resolve import PreparedModel
from frontend.supervision.throwaway import HostFailed
from ipc.machine import DeviceFacts
from ipc.messages import Launch

MODEL = ModelSettings(name="m", source="m", kv_cache_gib=0.1)
CPU = DeviceFacts(
    name="CPU", properties=("INFERENCE_PRECISION_HINT", "DYNAMIC_QUANTIZATION_GROUP_SIZE", "NUM_STREAMS")
)


def tune(search: Search, launch: Any, seconds: float = 300.0, **changes: Any) -> tuple[Tuning, list[str]]:
    subject = Subject(task="text", goal="latency", settings=MODEL, device=CPU)
    fields: dict[str, Any] = {
        "subject": subject,
        "search": search,
        "launch_of": launch,
        "seconds": seconds,
        "concurrency": 2,
        "min_agreement": 0.97,
        "run_seconds": 0.1,
    }
    told: list[str] = []
    tuning = asyncio.run(Tuner(Plan(**fields | changes), told.append, time.monotonic).run())
    return tuning, told


def synthetic(configuration: Configuration) -> Launch[Any]:
    """Tokens per second as the configuration says."""
    rate = float(configuration["rate"] or 0)
    device = "NOWHERE" if configuration.get("broken") else "CPU"
    engine = "text" if configuration.get("broken") else "synthetic"
    settings = msgspec.structs.replace(MODEL, device=device)
    prepared = PreparedModel(settings=settings, engine=engine, synthetic_tokens_per_second=rate)
    return launch_of(prepared, Settings(), 2**30, 1)


def test_the_fastest_wins_the_broken_and_the_slower_do_not():
    knobs = (Knob("broken", (None, "yes")), Knob("rate", ("300", "200", "1200")))
    tuning, told = tune(Search(knobs, {"broken": None, "rate": "300"}), synthetic)
    assert [(trial.change, trial.outcome) for trial in tuning.search.trials[:3]] == [
        (Change("broken", "yes"), "failed"),
        (Change("rate", "200"), "no gain"),
        (Change("rate", "1200"), "accepted"),
    ]
    assert told[2:-1] == [describe(trial) for trial in tuning.search.trials]
    assert tuning.winner == {"broken": None, "rate": "1200"}
    assert len(tuning.ratios) == 5
    assert 2 < tuning.gain < 5
    assert tuning.complete
    assert tuning.speed_after > tuning.speed_before


def test_without_time_the_start_is_all_there_is():
    search = Search((Knob("rate", ("300", "1200")),), {"rate": "300"})
    tuning, _ = tune(search, synthetic, seconds=0.0)
    assert tuning.winner == {"rate": "300"}
    assert not (tuning.complete or tuning.ratios or tuning.is_worth_keeping)


def test_a_model_that_does_not_load_is_no_start():
    search = Search((Knob("broken", (None, "yes")),), {"broken": "yes", "rate": "1"})
    with pytest.raises(HostFailed):
        tune(search, synthetic)


# --- a real model -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(qwen3_ir: Path) -> PreparedModel:
    model = ModelSettings(name="tiny", source=str(qwen3_ir), kv_cache_gib=0.1)
    return PreparedModel(settings=model, engine="text", path=str(qwen3_ir))


def test_a_change_that_is_faster_but_not_exact_is_refused(prepared):
    """One that keeps 8 of the model's 16 bits, made to look faster than its start by one that waits."""

    def launch(configuration: Configuration) -> Launch[Any]:
        asked = {"INFERENCE_PRECISION_HINT": "f32"} | {
            name: str(value) for name, value in configuration.items() if name.isupper() and value is not None
        }
        settings = msgspec.structs.replace(prepared.settings, properties=asked)
        model = msgspec.structs.replace(prepared, settings=settings)
        return launch_of(model, Settings(), 2**30, 1)

    class Biased(Tuner):
        async def _pair(self, *_: object) -> tuple[float, float]:
            return 2.0, 1.0

    exact: dict[str, Value] = {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    knobs = (Knob("KV_CACHE_PRECISION", ("f32", "u8"), changes_results=True),)
    plan = Plan(
        subject=Subject(task="text", goal="latency", settings=prepared.settings, device=CPU),
        search=Search(knobs, exact),
        launch_of=launch,
        seconds=300.0,
        concurrency=1,
        min_agreement=1.0,
        run_seconds=0.1,
        compared_tokens=8,
    )
    tuning = asyncio.run(Biased(plan, lambda _: None, time.monotonic).run())
    [trial] = tuning.search.trials
    assert (tuning.agreement_before, tuning.agreement_threshold) == (1.0, 1.0)
    assert trial.agreement is not None
    assert trial.agreement < 1
    assert trial.outcome == "results differ"
    assert tuning.winner == exact
