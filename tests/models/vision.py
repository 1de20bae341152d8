"""A stand-in for a vision model, because no package ships a real one: SmolLM2 that is told the colours.

It has the files and the shape of a LLaVA: the language part is SmolLM2, which is real, cut at its embeddings.
The vision tower is computed in closed form: an image becomes the embeddings of a sentence that names the
colours of its two halves. Tests with it show how images reach a model and that answers follow them, not how
well models see.
"""

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from host.convert.gguf import GgufMetadata, read_gguf_metadata
from host.convert.gguf_tokenizer import save_tokenizer
from tests.models.cache import cached

_RECIPE = 1
COLOURS = {
    "red": (220, 20, 20),
    "green": (20, 160, 40),
    "blue": (20, 40, 220),
    "yellow": (240, 230, 30),
    "black": (5, 5, 5),
    "white": (250, 250, 250),
    "orange": (250, 140, 10),
    "purple": (130, 20, 160),
    "pink": (250, 150, 190),
    "brown": (110, 60, 20),
    "gray": (128, 128, 128),
}
_SENTENCE = "The top of this whole picture is {} and the bottom of it is {}."
IMAGE_TOKENS = 16  # of each image, whatever its size: those of the sentence
_SIDE, _PATCH = 56, 14  # pixels
_FEATURES = 256
_IMAGE_TAG, _UNUSED_TOKEN = "<image>", "<gh_stars>"  # the tag takes the place of a token that nobody uses
_TEMPLATE = """\
{% for message in messages %}\
{% if loop.first and message['role'] != 'system' %}\
{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face' }}\
{{ '<|im_end|>\\n' }}\
{% endif %}\
{{ '<|im_start|>' + message['role'] + '\\n' }}\
{% if message['content'] is string %}{{ message['content'] }}\
{% else %}{% for part in message['content'] %}\
{% if part['type'] == 'image' %}{{ '<image>\\n' }}{% else %}{{ part['text'] }}{% endif %}\
{% endfor %}{% endif %}\
{{ '<|im_end|>\\n' }}\
{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""


def colour_vlm(smollm2: Path) -> Path:
    """Its IR folder. `smollm2` is the catalogue's IR folder; the GGUF file is kept beside it."""
    name = f"colour-vlm-{_RECIPE}-{metadata.version('openvino')}"
    return cached(name, lambda folder: _build(smollm2, folder))


def _build(smollm2: Path, folder: Path) -> None:
    (gguf,) = (smollm2.parent / "source").glob("*.gguf")
    save_tokenizer(_with_image_tag(read_gguf_metadata(gguf)), folder)
    language = ov.Core().read_model(smollm2 / "openvino_model.xml")
    text = _cut_at_embeddings(language)
    ov.save_model(language, folder / "openvino_language_model.xml", compress_to_fp16=False)
    ov.save_model(text, folder / "openvino_text_embeddings_model.xml", compress_to_fp16=False)
    tower = _vision_tower(_words(folder, text))
    ov.save_model(tower, folder / "openvino_vision_embeddings_model.xml", compress_to_fp16=False)
    config = json.loads((smollm2 / "config.json").read_text())
    for name, content in _documents(config).items():
        (folder / name).write_text(json.dumps(content, indent=2))
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    for name in ("generation_config.json", "tokenizer_config.json"):
        shutil.copy(smollm2 / name, folder)


def _with_image_tag(gguf: GgufMetadata) -> GgufMetadata:
    class Renamed(GgufMetadata):
        def strings(self, key: str) -> list[str]:
            return [_IMAGE_TAG if text == _UNUSED_TOKEN else text for text in super().strings(key)]

    return Renamed(gguf.data)


def _cut_at_embeddings(model: ov.Model) -> ov.Model:
    """Cut a causal model in two: from now on it takes embeddings, which the returned part makes."""
    ids = model.input("input_ids").get_node()
    (gather,) = (node for node in model.get_ordered_ops() if _looks_up_tokens(node))
    hidden = gather.get_output_partial_shape(0)[2].get_length()
    embeds = ops.parameter(ov.PartialShape([-1, -1, hidden]), np.float32, "inputs_embeds")
    embeds.set_friendly_name("inputs_embeds")  # by which the engine finds it
    embeds.output(0).get_tensor().set_names({"inputs_embeds"})
    for reader in gather.output(0).get_target_inputs():
        reader.replace_source_output(embeds.output(0))
    for reader in ids.output(0).get_target_inputs():
        if reader.get_node().get_type_name() == "ShapeOf":  # for the size of the batch
            reader.replace_source_output(embeds.output(0))
    gather.output(0).get_tensor().set_names({"inputs_embeds"})
    model.add_parameters([embeds])
    model.remove_parameter(ids)
    return ov.Model([ops.result(gather.output(0))], [ids], "text_embeddings")


def _looks_up_tokens(node: Any) -> bool:
    return node.get_type_name() == "Gather" and len(node.get_output_partial_shape(0)) == 3


class _Words(NamedTuple):
    """Embeddings."""

    sentence: np.ndarray[Any, Any]  # f32 [IMAGE_TOKENS, hidden]; rows of zeros for the colours
    slots: list[int]  # the two rows
    colours: dict[str, np.ndarray[Any, Any]]  # f32 [hidden]


def _words(folder: Path, text: ov.Model) -> _Words:
    import openvino_genai as genai

    tokenizer, lookup = genai.Tokenizer(folder), ov.Core().compile_model(text, "CPU")

    def embed(words: str) -> tuple[list[int], np.ndarray[Any, Any]]:
        ids = tokenizer.encode(words, add_special_tokens=False).input_ids.data
        return ids[0].tolist(), lookup(ids)[0][0].copy()

    colours = {name: embed(f" {name}") for name in COLOURS}
    ids, sentence = embed(_SENTENCE.format("red", "red"))
    slots = [row for row, number in enumerate(ids) if [number] == colours["red"][0]]
    assert len(ids) == IMAGE_TOKENS and len(slots) == 2, ids
    sentence[slots] = 0
    return _Words(sentence, slots, {name: rows.mean(0) for name, (_, rows) in colours.items()})


def _vision_tower(words: _Words) -> ov.Model:
    """pixel_values f32 [N, 3, side, side], normalized to -1 … 1 → f32 [N, IMAGE_TOKENS, hidden].

    The mean colour of each half goes through random features and a ridge regression to its word.
    """
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 2, (3, _FEATURES)).astype(np.float32)
    bias = rng.normal(0, 1, _FEATURES).astype(np.float32)
    seen, wanted = [], []
    for name, colour in COLOURS.items():
        near = np.clip(np.array(colour) + rng.normal(0, 10, (60, 3)), 0, 255) / 127.5 - 1
        seen.append(np.maximum(near @ weights + bias, 0))
        wanted.append(np.tile(words.colours[name], (60, 1)))
    features, embeddings = np.concatenate(seen), np.concatenate(wanted)
    gram = features.T @ features + 1e-2 * len(features) * np.eye(_FEATURES)
    projection = np.linalg.solve(gram, features.T @ embeddings).astype(np.float32)
    places = np.zeros((IMAGE_TOKENS, 2), np.float32)  # which half each row of the sentence names
    places[words.slots, [0, 1]] = 1

    pixels = ops.parameter([-1, 3, _SIDE, _SIDE], np.float32, "pixel_values")
    pixels.output(0).get_tensor().set_names({"pixel_values"})
    half = [_SIDE // 2, _SIDE]
    means = ops.avg_pool(pixels, half, [0, 0], [0, 0], half, exclude_pad=False)  # [N, 3, 2, 1]
    halves = ops.transpose(ops.squeeze(means, np.array([3])), np.array([0, 2, 1]))
    hidden = ops.relu(ops.add(ops.matmul(halves, weights, False, False), bias))
    named = ops.matmul(hidden, projection, False, False)  # [N, 2, hidden]
    output = ops.add(ops.matmul(places, named, False, False), words.sentence)
    output.output(0).get_tensor().set_names({"last_hidden_state"})
    return ov.Model([ops.result(output)], [pixels], "vision_embeddings")


def _documents(language: dict[str, Any]) -> dict[str, dict[str, Any]]:
    roles = ("bos_token_id", "eos_token_id")
    return {
        "config.json": {
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "llava",
            "text_config": language,
            "vision_config": {"model_type": "clip_vision_model", "image_size": _SIDE, "patch_size": _PATCH},
            **{role: language[role] for role in roles},
        },
        "preprocessor_config.json": {
            "crop_size": {"height": _SIDE, "width": _SIDE},
            "size": {"shortest_edge": _SIDE},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
            "patch_size": _PATCH,
        },
    }
