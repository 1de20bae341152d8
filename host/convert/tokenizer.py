"""Builds OpenVINO tokenizers from a tokenizer.json, without Hugging Face's libraries.

The converter of OpenVINO Tokenizers needs a tokenizer object of `transformers`. Its building blocks do not.
"""

import json
from typing import Any

from host.convert.errors import ConversionError
from host.convert.tokenizer_json import Template, TokenizerJson
from host.convert.tokenizer_steps import model_steps

_TEMPLATES = "processed_post_processor_template"  # from which engines learn how to join two texts


def build_tokenizer(source: TokenizerJson, pad_token: str, max_length: int, texts: int) -> Any:
    """A Model from strings to input_ids, token_type_ids and attention_mask, i64 [batch, longest].

    `texts` is 1, or 2 for pairs of texts. Callers may ask to truncate texts to `max_length` tokens. Raises
    ConversionError.
    """
    from openvino import Type
    from openvino_tokenizers.tokenizer_transformations import add_second_input
    from openvino_tokenizers.utils import change_outputs_type, update_rt_info_with_environment

    vocabulary = _vocabulary(source)
    if pad_token not in vocabulary:
        raise ConversionError(f"tokenizer.json: the vocabulary lacks the padding token {pad_token!r}")
    padding = vocabulary.index(pad_token)
    single, pair = _template(source, 1), _template(source, 2)
    model = _graph(source, vocabulary, single, padding, max_length)
    both = {"single": single, "pair": pair}
    model.set_rt_info(
        json.dumps({name: {"ids": t.ids, "type_ids": t.types} for name, t in both.items()}), _TEMPLATES
    )
    model.set_rt_info(padding, "pad_token_id")
    update_rt_info_with_environment(
        model
    )  # or OpenVINO GenAI ignores its options, such as add_special_tokens
    if texts == 2:
        add_second_input(model)
        if len(model.inputs) != 2:
            raise ConversionError("tokenizer.json: post_processor: the template for pairs is not supported")
    return change_outputs_type(model, Type.i64)


def _graph(
    source: TokenizerJson, vocabulary: list[str], template: Template, padding: int, max_length: int
) -> Any:
    from openvino_tokenizers import tokenizer_pipeline as blocks

    added = [blocks.SpecialToken(token.content, token.lstrip, token.rstrip) for token in source.added_tokens]
    parts = [
        blocks.Sequence(token_type_id=kind)
        if number < 0
        else blocks.AddToken(_token_id=number, token_type_id=kind)
        for number, kind in zip(template.ids, template.types, strict=True)
    ]
    pipeline = blocks.TokenizerPipeline(finalized=True)  # finalizing merges steps, and loses some
    pipeline.add_steps(
        [
            blocks.SpecialTokensSplit(added),
            *model_steps(source, vocabulary),
            blocks.TruncationStep(max_length - len(template.ids) + 1),
            blocks.CombineSegmentsStep(parts),
            blocks.PaddingStep(token=vocabulary[padding], _token_id=padding),
        ]
    )
    return pipeline.get_tokenizer_ov_subgraph()


def _vocabulary(source: TokenizerJson) -> list[str]:
    """The tokens by id. Ids without a token hold empty strings."""
    tokens = source.model.tokens | {token.id: token.content for token in source.added_tokens}
    if not tokens or max(tokens) > 2 * len(tokens):
        raise ConversionError("tokenizer.json: the token ids are too far apart")
    return [tokens.get(number, "") for number in range(max(tokens) + 1)]


def _template(source: TokenizerJson, texts: int) -> Template:
    template = source.post_processor.template(texts)
    if [number for number in template.ids if number < 0] != [-1, -2][:texts]:
        raise ConversionError(
            "tokenizer.json: post_processor: a template must contain each text once, in order"
        )
    return template
