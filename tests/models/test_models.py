"""The models and templates that tests stand on."""

from pathlib import Path

import pytest

from host.templates.rendering import ChatTemplate
from tests.models.cache import cached
from tests.models.templates import FAMILIES, chat_template


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_an_entry_of_the_cache_is_built_once(empty_cache: Path) -> None:
    builds = []

    def build(folder: Path) -> None:
        builds.append(folder)
        (folder / "file").write_text("content")

    for _ in range(2):
        assert (cached("group/entry", build) / "file").read_text() == "content"
    assert len(builds) == 1


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(empty_cache: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("no network")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="no network"):
            cached("entry", build)
    assert [path.name for path in empty_cache.rglob("*") if not path.is_dir()] == ["entry.lock"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_template_compiles(family: str) -> None:
    ChatTemplate(chat_template(family), {"bos_token": "<s>", "eos_token": "</s>"})


def test_the_tiny_qwen3_has_markers_of_one_token_that_are_seen_where_qwen3_shows_them(qwen3_ir: Path) -> None:
    from openvino_genai import Tokenizer

    tokenizer = Tokenizer(qwen3_ir)

    def ids(text: str) -> list[int]:
        return [int(number) for number in tokenizer.encode(text, add_special_tokens=False).input_ids.data[0]]

    for marker, number in {"<|im_end|>": 151645, "<tool_call>": 151657, "</think>": 151668}.items():
        assert ids(marker) == [number]
    assert tokenizer.decode(ids("<think>a</think><tool_call><|im_end|>")) == "<think>a</think><tool_call>"


def test_the_tiny_qwen3_says_different_things_and_comes_to_an_end(qwen3_ir: Path) -> None:
    from openvino_genai import LLMPipeline

    pipeline = LLMPipeline(qwen3_ir, "CPU")
    texts = [str(pipeline.generate(text, max_new_tokens=200)) for text in ("one", "two", "three", "four")]
    assert len(set(texts)) == 4
    assert any(len(pipeline.get_tokenizer().encode(text).input_ids.data[0]) < 100 for text in texts)
