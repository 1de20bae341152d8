"""What failed loads are explained with, and which may be tried again."""

import errno

import pytest

from host.devices import check_device
from host.engines.base import EngineLost, RequestRefused
from host.engines.text_loading import TextParts, build_engine, warm_up
from host.errors import LaunchError
from host.load_errors import explain
from host.model_folder import ModelFolderError
from ipc.errors import ErrorCode
from ipc.messages import TokenPrompt
from ipc.model_files import FileFault, read_file
from tests.host.harness import launch_of

LAUNCH = launch_of("m", properties={"FOO": "1", "NUM_STREAMS": "abc"})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelFolderError("m lacks a"), "m lacks a"),
        (LaunchError("no GPU"), "no GPU"),
        (FileFault("m/a is a FIFO"), "m/a is a FIFO"),
        (FileNotFoundError(errno.ENOENT, "No such file", "m/a"), "m/a: No such file"),
        (
            RuntimeError(
                "Exception from src/x.cpp:1:\nNotFound: Unsupported property FOO by CPU plugin.\n\n"
            ),
            "the plugin CPU has no property FOO; remove --property FOO",
        ),
        (
            RuntimeError("Exception from src/x.hpp:9:\nCould not read number of streams from str: abc; stoi"),
            "Could not read number of streams from str: abc; stoi; change --property NUM_STREAMS",
        ),
        (
            RuntimeError(
                "Check 'a <= b' failed at src/y.hpp:16:\nRequested cache blocks require more memory "
                "than available on the system.\n"
            ),
            "the KV cache needs more memory than is free; lower --kv-cache-gib",
        ),
        (
            RuntimeError(
                "Check 'x' failed at src/z.cpp:1:\nTokenizers for draft and main models are different!"
            ),
            "the draft model has another tokenizer; set --draft-model to a smaller model of the same family",
        ),
        (RuntimeError("Who knows."), "Who knows; --log-level debug shows more"),
        (
            RequestRefused(ErrorCode.KV_CACHE_EXCEEDED, "66 tokens exceed 32"),
            "it cannot process a first, short request: 66 tokens exceed 32; raise --kv-cache-gib",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_fail_again_is_permanent(error, reason):
    assert explain(error, LAUNCH) == (reason, True)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Check failed at layer 1", None),
        ("layer '1' is missing", None),
        ("wrong value 1", None),
        ("wrong value 0.5", None),
        ("no kernel reduces LATENCY here", None),
        ("Unsupported value: LATENCY", "HINT"),
        ("Invalid value 'LATENCY' for a hint", "HINT"),
        ('"LATENCY" is not a hint', "HINT"),
        ("the value LATENCY_2 is not a hint", None),
        ("Value of NUM_STREAMS must be positive", "NUM_STREAMS"),
        ("'' is not a path", None),
    ],
)
def test_a_property_is_blamed_only_where_the_message_means_it(text, named):
    properties = {"NUM_STREAMS": "1", "HINT": "LATENCY", "SCALE": "0.5", "CACHE_DIR": ""}
    remedy = f"change --property {named}" if named else "--log-level debug shows more"
    assert explain(RuntimeError(text), launch_of("m", properties=properties)) == (f"{text}; {remedy}", True)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't alloc"),
        RuntimeError("[GPU] clEnqueueNDRangeKernel, error code: -5 CL_OUT_OF_RESOURCES"),
        RuntimeError("L0 zeInit result: ZE_RESULT_ERROR_DEVICE_LOST"),
        RuntimeError("Exception from src/x.cpp:1:\nopen /dev/dri/renderD128: Device or resource busy"),
        OSError(errno.EBUSY, "Device or resource busy"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        EngineLost("a call made no progress for 30 seconds"),
    ],
    ids=str,
)
def test_shortages_and_busy_devices_may_pass(error):
    reason, permanent = explain(error, LAUNCH)
    assert not permanent
    assert reason and "\n" not in reason


def test_a_model_of_a_newer_openvino_is_told_to_be_one(tmp_path):
    for version, advice in (
        ("2099.1.0", "it was written by OpenVINO 2099.1.0: update openvino"),
        ("2024.1.0", "--log"),
    ):
        info = f'<info name="OpenVINO Runtime" value="{version}-1-abc"/>'
        (tmp_path / "openvino_model.xml").write_text(f"<net><rt_info>{info}</rt_info></net>")
        reason, permanent = explain(RuntimeError("Who knows."), launch_of(tmp_path))
        assert permanent
        assert reason.startswith(f"Who knows; {advice}")


def test_a_file_that_only_lacked_a_descriptor_is_tried_again(tmp_path, monkeypatch):
    (tmp_path / "config.json").touch()

    def no_descriptors(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("ipc.model_files.os.open", no_descriptors)
    with pytest.raises(FileFault) as caught:
        read_file(tmp_path / "config.json", 10)
    assert explain(caught.value, LAUNCH) == (
        f"cannot read {tmp_path}/config.json: Too many open files",
        False,
    )


@pytest.mark.parametrize(
    ("device", "missing"),
    [
        ("CPU", None),
        ("AUTO", None),
        ("AUTO:GPU,CPU", None),
        ("AUTO:-NPU", None),
        ("HETERO:GPU.1,CPU", None),
        ("MULTI:GPU(2),CPU(1)", None),
        ("BATCH:GPU(16)", None),
        ("GPU.0", None),
        ("NPU", "NPU"),
        ("GPU.2", "GPU.2"),
        ("HETERO:GPU.0,NPU", "NPU"),
        ("cpu", "cpu"),
        ("CPU.3", "CPU.3"),
        (" ", " "),
    ],
)
def test_a_device_that_does_not_exist_is_named_with_those_that_do(device, missing):
    available = ["CPU", "GPU.0", "GPU.1"]
    if missing is None:
        check_device(device, available)
        return
    with pytest.raises(LaunchError, match=f"^there is no device {missing} here, only CPU, GPU.0, GPU.1; "):
        check_device(device, available)


def test_a_lone_gpu_has_two_names():
    for name in ("GPU", "GPU.0"):
        check_device(name, ["CPU", "GPU"])
    with pytest.raises(LaunchError, match="set --draft-device to another"):
        check_device("GPU.1", ["CPU", "GPU"], "--draft-device")


def test_a_model_that_has_no_memory_for_its_first_request_is_not_loaded(qwen3_ir, monkeypatch):
    engine = build_engine(launch_of(qwen3_ir), TextParts())

    def no_memory() -> None:
        raise RuntimeError("Exception from src/x.cpp:1:\nstd::bad_alloc")

    monkeypatch.setattr(engine._pipeline, "step", no_memory)
    with pytest.raises(EngineLost) as lost:
        warm_up(engine, TokenPrompt([1, 2, 3]))
    reason, permanent = explain(lost.value, LAUNCH)
    assert "too little memory" in reason
    assert not permanent
