"""What is worth trying, when a change is better, and when results agree."""

from array import array

import msgspec
import pytest

from bench.tuning.agreement import text_agreement, threshold, vector_agreement
from bench.tuning.candidates import Machine, Subject, knobs_for
from bench.tuning.configuration import settings_with, start_of
from bench.tuning.report import settings_of
from bench.tuning.verdict import judge
from bench.tuning.workloads import sized, trial_load
from frontend.config import ModelSettings
from ipc.machine import DeviceFacts
from ipc.messages import Generate

CPU = DeviceFacts(
    name="CPU",
    capabilities=("FP32", "BF16", "INT8"),
    properties=(
        "NUM_STREAMS",
        "INFERENCE_NUM_THREADS",
        "INFERENCE_PRECISION_HINT",
        "ENABLE_CPU_PINNING",
        "SCHEDULING_CORE_TYPE",
        "ENABLE_HYPER_THREADING",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE",
        "KV_CACHE_PRECISION",
    ),
)
GPU = msgspec.structs.replace(CPU, name="GPU", capabilities=("FP32", "FP16"))
MODEL = ModelSettings(name="m", source="m")
SUBJECT = Subject(task="text", goal="latency", settings=MODEL, device=CPU)
MACHINE = Machine(cores=4, threads=4)


def values(subject: Subject = SUBJECT, machine: Machine = MACHINE) -> dict:
    return {knob.name: knob.values for knob in knobs_for(subject, machine)}


# --- candidates ---------------------------------------------------------------------------------------------


def test_a_plain_machine_has_no_choice_of_cores_or_hyper_threads():
    found = values()
    assert not found.keys() & {"SCHEDULING_CORE_TYPE", "ENABLE_HYPER_THREADING", "NUM_STREAMS"}
    assert found["INFERENCE_NUM_THREADS"] == (None, "4", "2")
    assert found["INFERENCE_PRECISION_HINT"] == (None, "f32", "bf16")


def test_a_hybrid_machine_with_hyper_threads_has_all_of_them():
    found = values(machine=Machine(cores=8, threads=12, quota=3.5, is_hybrid=True))
    assert "PCORE_ONLY" in found["SCHEDULING_CORE_TYPE"]
    assert found["ENABLE_HYPER_THREADING"] == (None, "YES", "NO")
    assert found["INFERENCE_NUM_THREADS"] == (None, "3", "8", "12", "4")


def test_no_group_is_larger_than_the_weights():
    of_gguf = msgspec.structs.replace(SUBJECT, weights_group=32)
    assert values(of_gguf)["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == (None, "32", "0")
    per_channel = msgspec.structs.replace(SUBJECT, weights_group="per channel")
    assert "256" in values(per_channel)["DYNAMIC_QUANTIZATION_GROUP_SIZE"]


def test_a_gpu_has_only_what_gpus_have():
    assert values(msgspec.structs.replace(SUBJECT, device=GPU)).keys() == {
        "DYNAMIC_QUANTIZATION_GROUP_SIZE",
        "INFERENCE_PRECISION_HINT",
        "KV_CACHE_PRECISION",
    }


def test_a_kv_precision_that_is_set_stays():
    model = msgspec.structs.replace(MODEL, kv_cache_precision="u8")
    assert "KV_CACHE_PRECISION" not in values(msgspec.structs.replace(SUBJECT, settings=model))


def test_tokens_per_step_matter_to_all_goals_but_latency():
    assert "max_num_batched_tokens" not in values()
    assert "max_num_batched_tokens" in values(msgspec.structs.replace(SUBJECT, goal="prefill"))


def test_speculation_is_tried_if_asked_for():
    assert not values().keys() & {"draft_model", "prompt_lookup", "num_assistant_tokens"}
    asked = values(msgspec.structs.replace(SUBJECT, draft_model="d", prompt_lookup=True))
    assert asked["draft_model"] == (None, "d")
    assert asked["prompt_lookup"] == (False, True)


def test_vector_models_have_streams_and_no_kv_cache():
    found = values(msgspec.structs.replace(SUBJECT, task="embeddings"))
    assert found["NUM_STREAMS"] == (None, "1", "2", "4")
    assert "max_batch_tokens" in found
    assert "KV_CACHE_PRECISION" not in found


# --- configurations -----------------------------------------------------------------------------------------


def test_threads_of_the_start_become_the_property_that_is_tuned():
    model = msgspec.structs.replace(MODEL, threads=1, properties={"A": "1", "ENABLE_CPU_PINNING": "NO"})
    start = start_of(model, knobs_for(SUBJECT, MACHINE))
    assert (start["INFERENCE_NUM_THREADS"], start["ENABLE_CPU_PINNING"]) == ("1", "NO")
    changed = settings_with(model, {**start, "INFERENCE_NUM_THREADS": None})
    assert changed.threads == 0
    assert changed.properties == {"A": "1", "ENABLE_CPU_PINNING": "NO"}


def test_a_configuration_can_unset_and_set_properties_and_settings():
    model = msgspec.structs.replace(MODEL, properties={"X": "1", "Y": "2"})
    changed = settings_with(model, {"X": None, "Y": "3", "max_num_batched_tokens": 512})
    assert (changed.properties, changed.max_num_batched_tokens) == ({"Y": "3"}, 512)


def test_only_what_differs_from_the_defaults_is_kept():
    winner = {"X": None, "Y": "3", "max_num_batched_tokens": 256, "prompt_lookup": True}
    defaults = {"max_num_batched_tokens": 256, "prompt_lookup": False}
    assert settings_of(winner, defaults) == ({"Y": "3"}, {"prompt_lookup": True})


# --- verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([], None),
        ([1.5], None),
        ([0.8, 0.9], "not better"),
        ([0.8, 1.5], None),
        ([1.2, 1.3, 1.1], "better"),
        ([1.03, 1.04, 1.03], None),
        ([0.97, 0.99, 1.03], "not better"),
        ([1.03, 1.04, 1.03, 1.02, 1.01], "better"),
        ([1.01, 1.01, 1.03, 1.01, 1.01], "not better"),
        ([1.2, 1.2, 1.2, 0.9, 1.2], None),
        ([1.2, 1.2, 1.2, 0.9, 1.2, 1.2, 1.2], "better"),
        ([1.2, 1.2, 1.2, 0.9, 0.9, 1.2, 1.2], "not better"),
    ],
)
def test_pairs_are_measured_until_they_agree(ratios, verdict):
    assert judge(ratios) == verdict


def test_seven_pairs_always_decide():
    for low in range(8):
        assert judge([0.96] * low + [1.5] * (7 - low)) is not None


# --- agreement ----------------------------------------------------------------------------------------------


def test_a_text_counts_up_to_its_first_difference():
    reference = [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert text_agreement(reference, reference) == 1.0
    assert text_agreement(reference, [[1, 2, 9, 4], [5, 6, 7, 8]]) == pytest.approx(6 / 7)
    assert text_agreement(reference, [[1], [9, 6, 7, 8]]) == pytest.approx(1 / 3)
    assert text_agreement([], []) == 1.0


def test_the_worst_vector_counts():
    one, other = (array("f", values).tobytes() for values in ([1.0, 0.0], [1.0, 1.0]))
    assert vector_agreement([one, one], [one, other]) == pytest.approx(0.5**0.5)
    assert vector_agreement([one], [one]) == pytest.approx(1.0)
    assert vector_agreement([one], [one + one]) == -1.0
    assert vector_agreement([one], [array("f", [0.0, 0.0]).tobytes()]) == 0.0


def test_nobody_has_to_agree_more_than_the_start_does():
    assert threshold(0.97, 0.99) == 0.97
    assert threshold(0.97, 0.9) == 0.9


# --- workloads ----------------------------------------------------------------------------------------------


def test_a_run_is_long_enough_to_be_timed_and_bounded():
    small = trial_load(SUBJECT, 8, 4096)
    slow, fast = (sized(small, SUBJECT, factor, 4096) for factor in (0.1, 100_000))
    assert slow == small
    assert (fast.max_tokens, fast.requests, fast.concurrency) == (128, 64, 1)


def test_the_goal_decides_what_is_in_flight():
    many, prefill = (
        trial_load(msgspec.structs.replace(SUBJECT, goal=goal), 8, 4096) for goal in ("throughput", "prefill")
    )
    assert many.concurrency == 8
    assert (prefill.concurrency, prefill.max_tokens, prefill.words) == (1, 1, 512)


def test_mixed_is_prompts_and_answers_of_several_clients_however_long_a_run_is():
    mixed = msgspec.structs.replace(SUBJECT, goal="mixed")
    small = trial_load(mixed, 8, 4096)
    assert (small.requests, small.concurrency, small.words, small.max_tokens) == (8, 8, 128, 32)
    longer = sized(small, mixed, 3.0, 4096)
    assert longer == msgspec.structs.replace(small, requests=24)


def test_what_gains_most_is_tried_first():
    found = list(values(msgspec.structs.replace(SUBJECT, goal="mixed")))
    assert found[:3] == ["INFERENCE_NUM_THREADS", "DYNAMIC_QUANTIZATION_GROUP_SIZE", "max_num_batched_tokens"]


def test_everything_fits_a_small_context():
    load = sized(trial_load(SUBJECT, 1, 64), SUBJECT, 1000, 64)
    assert load.words + load.max_tokens <= 32
    [work, *_] = load.works("text", 1)
    assert isinstance(work, Generate)
    assert work.sampling.max_tokens == load.max_tokens
