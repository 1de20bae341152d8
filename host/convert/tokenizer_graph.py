"""The OpenVINO graphs between texts and the tokens of a byte-pair vocabulary."""

from typing import Any, NamedTuple

import numpy as np

from host.convert.bpe import Vocabulary
from host.convert.patterns import any_of, groups, quoted

_NO_LIMIT = 2**30  # tokens; larger ones overflow when the engine adds to them
_CACHED_SHARE = 5  # the tokenizer caches one word per this many tokens of the vocabulary
_MIN_CACHED = 20_000
_STAND_IN = "\U0010ffff"  # begins the words that only as a whole are a token; no text contains it
_NO_TOKEN = -1  # stands for the hidden tokens where there are none, since the engine takes no empty list
_NEVER = "\U0010fffe"  # stands for the special tokens where there are none


class Steps(NamedTuple):
    """What happens to a text before the merges, and what is put before it."""

    splits: tuple[str, ...]  # patterns that words match
    replacements: tuple[tuple[str, str], ...] = ()  # pattern, replacement
    nfc: bool = False
    words: dict[int, str] = {}  # noqa: RUF012 - tokens that only a whole word may become
    bos: int | None = None
    pad: int = 0


def build_tokenizer(vocabulary: Vocabulary, steps: Steps) -> Any:
    """A Model from strings to input_ids and attention_mask, i64 [batch, longest], padded on the left.

    Its state `add_special_tokens` says whether texts begin with `steps.bos`. It never truncates.
    """
    from openvino import Model, PartialShape, Type, op
    from openvino_tokenizers import _get_opset_factory
    from openvino_tokenizers import tokenizer_pipeline as blocks
    from openvino_tokenizers.utils import change_outputs_type, update_rt_info_with_environment

    text = op.Parameter(Type.string, PartialShape(["?"]))
    nodes = _get_opset_factory("opset15").create("StringTensorUnpack", text.outputs()).outputs()
    nodes = _words(blocks.TokenizerPipeline.add_ragged_dimension(nodes), vocabulary, steps)
    nodes = _tokens(nodes, vocabulary, steps)
    truncation = blocks.TruncationStep(_NO_LIMIT)  # the engine looks for it to find the text's own tokens
    nodes = truncation.get_ov_subgraph(nodes)
    before = [] if steps.bos is None else [blocks.AddToken(_token_id=steps.bos)]
    nodes = blocks.CombineSegmentsStep([*before, blocks.Sequence()]).get_ov_subgraph(nodes)
    outputs = blocks.PaddingStep(_token_id=steps.pad, pad_right=False).get_ov_subgraph(nodes[:3])
    model = Model(outputs, [text], "tokenizer")
    model.add_sinks(truncation.get_stateful_sinks())
    update_rt_info_with_environment(model)  # or the engine ignores its options
    return change_outputs_type(model, Type.i64)


def _words(nodes: list[Any], vocabulary: Vocabulary, steps: Steps) -> list[Any]:
    from openvino_tokenizers import _get_factory
    from openvino_tokenizers import tokenizer_pipeline as blocks
    from openvino_tokenizers.utils import create_string_constant_node

    special = any_of(set(vocabulary.special.values()) or {_NEVER})
    nodes = nodes + create_string_constant_node(special)
    nodes = _get_factory().create("SpecialTokensSplit", nodes).outputs()
    ragged, strings = nodes[:2], nodes[2:]
    if steps.nfc:
        strings = blocks.NormalizeUnicode("NFC").get_ov_subgraph(strings)
    for pattern, replacement in steps.replacements:
        strings = blocks.RegexNormalizationStep(pattern, replacement).get_ov_subgraph(strings)
    nodes = ragged + strings
    for pattern in steps.splits:
        nodes = blocks.RegexSplitStep(pattern, behaviour="isolate").get_ov_subgraph(nodes)
    nodes = nodes[:5]
    for group in groups(steps.words.values()):
        words = rf"\A({'|'.join(map(quoted, group))})\z"
        marked = blocks.RegexNormalizationStep(words, f"{_STAND_IN}$1")
        nodes = nodes[:2] + marked.get_ov_subgraph(nodes[2:])
    return nodes


def _tokens(nodes: list[Any], vocabulary: Vocabulary, steps: Steps) -> list[Any]:
    from openvino import Type
    from openvino.utils.types import make_constant_node
    from openvino_tokenizers import _get_factory
    from openvino_tokenizers.utils import create_string_constant_node

    lefts, rights = [left for left, _ in vocabulary.merges], [right for _, right in vocabulary.merges]
    for texts in (vocabulary.encoded, lefts, rights):
        nodes = nodes + create_string_constant_node(texts)
    if steps.words:
        nodes = nodes + create_string_constant_node([f"{_STAND_IN}{word}" for word in steps.words.values()])
        nodes.append(make_constant_node(np.array(list(steps.words), np.int32), Type.i32).output(0))
    attributes = {
        "unk_token": "",
        "fuse_unk": False,
        "suffix_indicator": "",
        "end_suffix": "",
        "byte_fallback": vocabulary.byte_fallback,
        "cache_capacity": max(_MIN_CACHED, len(vocabulary.encoded) // _CACHED_SHARE),
    }
    outputs: list[Any] = _get_factory().create("BPETokenizer", nodes, attributes).outputs()
    return outputs


def build_detokenizer(vocabulary: Vocabulary) -> Any:
    """A Model from token ids, i64 [batch, longest], to strings. Bytes that are no UTF-8 become U+FFFD."""
    from openvino import Type
    from openvino_tokenizers import tokenizer_pipeline as blocks
    from openvino_tokenizers.constants import UTF8ReplaceMode
    from openvino_tokenizers.utils import change_inputs_type, update_rt_info_with_environment

    pipeline = blocks.TokenizerPipeline(finalized=True)
    pipeline.add_steps(
        [
            blocks.VocabDecoderStep(vocabulary.shown, vocabulary.hidden or [_NO_TOKEN]),
            blocks.FuseStep(),
            blocks.UTF8ValidateStep(UTF8ReplaceMode.REPLACE),
        ]
    )
    model = pipeline.get_detokenizer_ov_subgraph()
    update_rt_info_with_environment(model)
    return change_inputs_type(model, Type.i64)
