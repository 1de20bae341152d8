"""What a folder must hold, and reading files that may be anything."""

import os
import socket

import pytest

from ipc.model_files import FileFault, find_faults, list_files, missing_files, read_file, read_text

TEXT = {
    f"openvino_{part}.{suffix}" for part in ("model", "tokenizer", "detokenizer") for suffix in ("xml", "bin")
}


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


SPECIAL = {
    "a FIFO": os.mkfifo,
    "a socket": make_socket,
    "a folder": lambda path: path.mkdir(),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_not_a_regular_file_is_named_and_never_read(short_path, kind):
    path = short_path / "config.json"
    SPECIAL[kind](path)
    fault = f"{path} is {kind}; it must be a regular file"
    assert list(find_faults(short_path, list_files(short_path))) == [fault]
    with pytest.raises(FileFault, match=fault):
        read_file(path, 10)


def test_other_files_in_the_folder_may_be_anything(tmp_path):
    os.mkfifo(tmp_path / "commands")
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "config.json").touch()
    assert not list(find_faults(tmp_path, list_files(tmp_path)))


@pytest.mark.parametrize("name", ["config.json", "chat_template.jinja", "openvino_model.xml"])
def test_a_file_of_a_terabyte_is_not_read(tmp_path, name):
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 2**40)
    (fault,) = find_faults(tmp_path, [name])
    assert fault.startswith(f"{tmp_path / name} has 1099511627776 bytes; it must have at most ")
    with pytest.raises(FileFault, match="at most 1000"):
        read_file(tmp_path / name, 1000)


def test_weights_may_be_as_large_as_they_like(tmp_path):
    (tmp_path / "openvino_model.bin").touch()
    os.truncate(tmp_path / "openvino_model.bin", 2**40)
    assert not list(find_faults(tmp_path, ["openvino_model.bin"]))


def test_a_link_to_nothing_is_a_missing_file(tmp_path):
    for name in TEXT:
        (tmp_path / name).touch()
    (tmp_path / "openvino_model.bin").unlink()
    (tmp_path / "openvino_model.bin").symlink_to("nowhere")
    assert missing_files(list_files(tmp_path), "text") == ["openvino_model.bin"]


def test_text_must_be_utf_8(tmp_path):
    (tmp_path / "t").write_bytes("naïve".encode("latin-1"))
    with pytest.raises(FileFault, match=r"t is not valid UTF-8: byte 2 is 0xef; save it as UTF-8$"):
        read_text(tmp_path / "t", 100)
    with pytest.raises(FileFault, match=r"^cannot read .*none: No such file or directory$"):
        read_text(tmp_path / "none", 100)


def test_optimum_takes_weights_of_pytorch_as_well():
    assert missing_files({"model.safetensors", "tokenizer.json"}, "embeddings", "optimum") == []
    assert missing_files({"tokenizer.json"}, "embeddings", "optimum") == [
        "openvino_model.xml",
        "openvino_model.bin",
    ]


def test_a_task_that_is_not_known_here_needs_nothing():
    assert missing_files(set(), "reverse") == []
