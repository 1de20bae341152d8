"""A random tiny Llama with Mistral's SentencePiece vocabulary, in the form that exports have."""

import json
import shutil
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
    ov.save_model(_raw_detokenizer(), folder / "openvino_detokenizer.xml")


def _raw_detokenizer() -> ov.Model:
    """The steps that openvino_tokenizers derives from the decoder of such a tokenizer.json."""
    from openvino_tokenizers import tokenizer_pipeline as blocks
    from openvino_tokenizers.constants import UTF8ReplaceMode
    from openvino_tokenizers.utils import change_inputs_type, update_rt_info_with_environment

    facts = json.loads(tokenizer_json("mistral").read_text(encoding="utf-8"))
    pieces = sorted(facts["model"]["vocab"], key=facts["model"]["vocab"].__getitem__)
    special = [token["id"] for token in facts["added_tokens"] if token["special"]]
    pipeline = blocks.TokenizerPipeline(finalized=True)
    pipeline.add_steps(
        [
            blocks.VocabDecoderStep(pieces, special),
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
