"""What a user sees of a setting or a file that cannot work: one short error, at once, and exit status 1."""

import os
import shutil
import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.server import free_port, nacelle_command
from tests.e2e.serving import Serving, wait_for

COLUMNS, LINES = 80, 3
SECONDS = 60.0


def serve(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [*nacelle_command(), "serve", *map(str, arguments), "--port", str(free_port())]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


def errors_of(run: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """What was printed besides that the server listens. It must fit in a few lines of a terminal."""
    assert run.returncode == status, run.stderr
    assert "Traceback" not in run.stderr
    lines = [line for line in run.stderr.splitlines() if "listening on" not in line]
    shown = [row for line in lines for row in textwrap.wrap(line, COLUMNS)]
    assert len(shown) <= LINES, run.stderr
    return "\n".join(lines)


@pytest.fixture
def model(qwen3_ir: Path, short_path: Path) -> Path:
    return shutil.copytree(qwen3_ir, short_path / "m")


@pytest.mark.parametrize(
    ("arguments", "cause", "remedy"),
    [
        (["--device", "GPU.9"], "there is no device GPU.9 here, only CPU", "set --device to another"),
        (["--device", "HETERO:CPU,XPU"], "there is no device XPU here, only CPU", "set --device to another"),
        (["--property", "FOO=1"], "the plugin CPU has no property FOO", "remove --property FOO"),
        (["--property", "NUM_STREAMS=x"], "number of streams", "change --property NUM_STREAMS"),
        (["--property", "KV_CACHE_PRECISION=i4"], "Wrong value i4", "change --property KV_CACHE_PRECISION"),
        (["--kv-cache-gib", "60000"], "exceeds the memory of this machine", "lower --kv-cache-gib"),
        (["--kv-cache-gib", "0.00001"], "it cannot process a first, short request", "raise --kv-cache-gib"),
        (["--draft-model", "{model}", "--draft-device", "NPU.5"], "no device NPU.5", "set --draft-device"),
        (["--draft-model", "smollm2"], "the draft model has another tokenizer", "set --draft-model to"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_setting_is_one_short_error(model, smollm2_ir, arguments, cause, remedy):
    said = errors_of(serve(model, *(argument.format(model=model) for argument in arguments)))
    assert cause in said
    assert remedy in said.rpartition(";")[2]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "openvino_model.bin": (cut, "openvino_model.bin is incomplete"),
    "openvino_tokenizer.bin": (cut, "openvino_tokenizer.bin is incomplete"),
    "openvino_model.xml": (cut, "openvino_model.xml is damaged"),
    "openvino_detokenizer.xml": (Path.unlink, "it lacks openvino_detokenizer.xml"),
    "config.json": (cut, "config.json is not valid JSON"),
    "generation_config.json": (lambda path: path.write_text('{"top_p": "x"}'), "generation_config.json"),
    "chat_template.jinja": (lambda path: path.write_bytes(b"\xe9"), "chat_template.jinja is not valid UTF-8"),
}
SPECIAL: dict[str, Callable[[Path], object]] = {
    "config.json": lambda path: os.mkfifo(path),
    "openvino_model.bin": lambda path: os.mkfifo(path),
    "tokenizer_config.json": lambda path: path.symlink_to("/dev/zero"),
    "chat_template.jinja": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_one_short_error_that_names_it(model, name):
    damage, cause = DAMAGES[name]
    damage(model / name)
    assert cause in errors_of(serve(model))


@pytest.mark.parametrize("name", SPECIAL)
def test_a_file_that_never_ends_or_never_begins_is_one_short_error(model, name):
    (model / name).unlink()
    SPECIAL[name](model / name)
    assert f"{name} is a " in errors_of(serve(model))


@pytest.mark.parametrize("name", ["chat_template.jinja", "openvino_model.bin"])
@pytest.mark.parametrize("option", ["", "--draft-model"])
def test_the_files_of_a_draft_model_are_checked_like_the_models(model, qwen3_ir, name, option):
    (model / name).unlink()
    os.mkfifo(model / name)
    arguments = [qwen3_ir, option, model] if option else [model]
    assert f"{name} is a FIFO" in errors_of(serve(*arguments))


def test_a_chat_template_of_50_megabytes_is_refused_wherever_it_comes_from(model, tmp_path):
    (tmp_path / "t.jinja").write_bytes(b"x" * 50_000_000)
    said = errors_of(serve(model, "--chat-template", tmp_path / "t.jinja"), status=2)
    assert "t.jinja has 50000000 bytes; it must have at most" in said
    shutil.copy(tmp_path / "t.jinja", model / "chat_template.jinja")
    said = errors_of(serve(model))
    assert "chat_template.jinja has 50000000 bytes; it must have at most" in said


@pytest.mark.parametrize("kind", ["fifo", "/dev/zero"])
def test_a_chat_template_that_is_no_file_blocks_nobody(model, tmp_path, kind):
    template = tmp_path / "t.jinja"
    os.mkfifo(template) if kind == "fifo" else template.symlink_to(kind)
    assert "it must be a regular file" in errors_of(serve(model, "--chat-template", template), status=2)


def test_a_model_that_cannot_load_leaves_the_others_alone(model, qwen3_ir, tmp_path):
    """It fails once, is answered with a 503 that says why, and is served once it was repaired."""
    config = tmp_path / "nacelle.toml"
    config.write_text(
        f'[[models]]\nname = "good"\nsource = "{qwen3_ir}"\n'
        f'[[models]]\nname = "bad"\nsource = "{qwen3_ir}"\ndevice = "GPU.9"\n'
    )
    with Serving([], ["--config", str(config)], {}) as server:
        server.wait_until_ready("good")
        wait_for(lambda: server.readiness("bad")["replicas"][0]["state"] == "failed", "it has failed")
        refused = server.chat(model="bad")
        assert refused.status_code == 503
        assert "there is no device GPU.9 here, only CPU" in refused.json()["error"]["message"]
        assert server.readiness("bad")["replicas"][0]["restarts"] == 0
        assert server.chat(model="good").status_code == 200


def test_tracebacks_are_for_the_level_debug(model):
    quiet, verbose = serve(model, "--device", "X"), serve(model, "--device", "X", "--log-level", "debug")
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in verbose.stderr
