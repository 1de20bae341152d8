"""A random tiny Qwen3 with the real tokenizer and chat template: it makes no sense, but calls tools."""

from importlib import metadata
from pathlib import Path
from typing import Literal

from frontend.models.converter import convert
from tests.models.cache import cached
from tests.models.templates import chat_template

_RECIPE = 3  # counts the models that this module and qwen3_gguf have made
_FOLDER = f"tiny-{_RECIPE}-{metadata.version('openvino-genai')}"
_PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_qwen3(family: Literal["qwen3", "qwen3.5", "plain"]) -> Path:
    """An IR folder, named like the family whose chat template it has.

    That of Qwen3.5 writes calls as XML, and the prompt begins the reasoning unless it is switched off. With
    "plain" it knows neither tools nor reasoning.
    """
    weights = cached(f"{_FOLDER}/weights", _build)
    return cached(f"{_FOLDER}/{family}", lambda folder: _with_template(weights, family, folder))


def tiny_qwen3_gguf() -> Path:
    """The GGUF file that it is made from."""
    return cached("tiny-gguf-1", _write) / "m.gguf"


def tiny_qwen3_reranker() -> Path:
    """The same model in a folder that is recognized as a causal reranker's: it answers yes or no at random.

    It stands in for Qwen3-Reranker, which no package ships. Tests with it show how such models are served.
    """
    weights = cached(f"{_FOLDER}/weights", _build)
    return cached(f"{_FOLDER}/qwen3-reranker", lambda folder: _with_template(weights, "qwen3", folder))


def _with_template(source: Path, family: str, folder: Path) -> None:
    for file in source.iterdir():
        (folder / file.name).hardlink_to(file)
    template = _PLAIN if family == "plain" else chat_template(family)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _build(folder: Path) -> None:
    convert(tiny_qwen3_gguf(), folder)


def _write(folder: Path) -> None:
    from tests.models.qwen3_gguf import write_gguf  # these imports are slow, and seldom needed

    write_gguf(folder / "m.gguf")
