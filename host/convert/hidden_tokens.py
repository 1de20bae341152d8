"""Which tokens a converted tokenizer leaves out of text.

OpenVINO hides a GGUF file's user-defined tokens together with its control tokens. But models use them for
what must be seen, such as the marks around reasoning and tool calls.
"""

from collections.abc import Collection
from pathlib import Path

from host.convert.gguf import GgufMetadata

_TYPES = "tokenizer.ggml.token_type"
_CONTROL = 3
_USER_DEFINED = 4


def show_user_defined(metadata: GgufMetadata, folder: Path) -> None:
    """Let the detokenizer in `folder` hide control tokens only. Raises RuntimeError."""
    types = metadata.integers(_TYPES)
    if _USER_DEFINED in types:
        hide_only(
            [token for token, kind in enumerate(types) if kind == _CONTROL],
            folder / "openvino_detokenizer.xml",
        )


def hide_only(token_ids: Collection[int], detokenizer: Path) -> None:
    """Rewrite the graph, so that all other tokens are shown. Raises RuntimeError."""
    import openvino
    import openvino_tokenizers

    core = openvino.Core()
    core.add_extension(openvino_tokenizers._ext_path)
    model = core.read_model(detokenizer)
    (decoder,) = (node for node in model.get_ops() if node.get_type_name() == "VocabDecoder")
    choice = decoder.input_value(4).get_node()  # a slice of all hidden tokens: the engine cuts it to none
    constant = openvino.opset8.constant(list(token_ids), openvino.Type.i32)
    choice.input(0).replace_source_output(constant.output(0))
    openvino.save_model(model, detokenizer.with_stem("shown"), compress_to_fp16=False)
    del model, decoder, choice  # they map the old file
    for suffix in (".xml", ".bin"):
        detokenizer.with_name(f"shown{suffix}").replace(detokenizer.with_suffix(suffix))
