"""A random tiny Llama with Mistral's SentencePiece vocabulary, in the form that exports have."""

import json
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import openvino as ov

from frontend.models.converter import convert
from tests.models.cache import cached
from tests.models.llama3 import write_llama
from tests.models.vocabularies import tokenizer_json

_FOLDER = f"tiny-sentencepiece-1-{metadata.version('openvino-genai')}"
_TEMPLATE = "{% for message in messages %}[INST] {{ message.content }} [/INST]{% endfor %}"


def tiny_sentencepiece() -> Path:
    """An IR folder whose detokenizer holds raw pieces, such as `▁x` and `<0x0A>`, and makes text of them."""
    return cached(_FOLDER, _build)


def _build(folder: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    write_llama(scratch / "model.gguf", "mistral", _TEMPLATE)
    convert(scratch / "model.gguf", folder)
    shutil.rmtree(scratch)
    facts = json.loads(tokenizer_json("mistral").read_text(encoding="utf-8"))
    pieces = sorted(facts["model"]["vocab"], key=facts["model"]["vocab"].__getitem__)
    special = [token["id"] for token in facts["added_tokens"] if token["special"]]
    ov.save_model(raw_detokenizer(pieces, special), folder / "openvino_detokenizer.xml")


def raw_detokenizer(pieces: Sequence[str] | Sequence[bytes], hidden: Sequence[int]) -> ov.Model:
    """One with the vocabulary's own spelling, as openvino_tokenizers derives it from a tokenizer.json.

    `pieces` are the tokens by id; the ids in `hidden` add nothing to a text.
    """
    from openvino_tokenizers import tokenizer_pipeline as blocks
    from openvino_tokenizers.constants import UTF8ReplaceMode
    from openvino_tokenizers.utils import change_inputs_type, update_rt_info_with_environment

    pipeline = blocks.TokenizerPipeline(finalized=True)
    pipeline.add_steps(
        [
            blocks.VocabDecoderStep(pieces, hidden),
            blocks.RegexDecodingStep.replace_sp_spaces(),
            blocks.ByteFallbackStep(),
            blocks.FuseStep(),
            blocks.RegexDecodingStep.strip_forward_space(),
            blocks.UTF8ValidateStep(UTF8ReplaceMode.REPLACE),
        ]
    )
    model = pipeline.get_detokenizer_ov_subgraph()
    update_rt_info_with_environment(model)
    return change_inputs_type(model, ov.Type.i64)
