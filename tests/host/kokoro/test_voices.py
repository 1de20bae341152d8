"""Voices and blends of a folder; what cannot be served is refused by name."""

from pathlib import Path

import numpy as np
import pytest

from host.engines.base import RequestRefused
from host.kokoro.voices import Voices
from host.model_folder import ModelFolderError
from ipc.messages import VoiceWeight

ENGLISH = frozenset({"en-US", "en-GB"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "voices").mkdir()
    for number, name in enumerate(("af_one", "bm_two", "ef_three", "jf_four")):
        np.full((510, 1, 256), number + 1, "<f4").tofile(tmp_path / "voices" / f"{name}.bin")
    (tmp_path / "voices" / "af_cut.bin").write_bytes(b"\0" * 1000)
    (tmp_path / "voices" / "README.bin").write_bytes(b"")
    return tmp_path


def blend(**weights: float) -> list[VoiceWeight]:
    return [VoiceWeight(name, weight) for name, weight in weights.items()]


def test_voices_of_languages_that_are_not_spoken_are_not_listed(folder):
    listed = [(voice.name, voice.language) for voice in Voices(folder, ENGLISH).served]
    assert listed == [("af_cut", "en-US"), ("af_one", "en-US"), ("bm_two", "en-GB")]


def test_a_blend_is_the_weighted_sum_of_its_voices(folder):
    voices = Voices(folder, ENGLISH)
    mixed = voices.styles(blend(af_one=3.0, bm_two=1.0))  # weights are made to add up to 1
    assert mixed.shape == (510, 1, 256)
    np.testing.assert_allclose(mixed, 1.25)
    assert voices.styles(blend(bm_two=1.0, af_one=3.0)) is mixed
    assert voices.language(blend(bm_two=1.0, af_one=3.0)).tag == "en-GB"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (blend(af_nobody=1.0), "has no voice 'af_nobody'; use one of af_cut, af_one, bm_two"),
        (blend(jf_four=1.0), "jf_four speaks Japanese, .* pyopenjtalk"),
        (blend(zm_yunxi=1.0), "zm_yunxi speaks Chinese, .* pypinyin"),
        (blend(ef_three=1.0), "ef_three speaks es, which needs espeak-ng; install it with: pip install"),
        (blend(af_one=0.0), "the weight of af_one must be above 0"),
        (blend(af_one=float("nan")), "the weight of af_one must be above 0"),
        ([], "between 1 and 16 voices, not 0"),
        ([VoiceWeight("../../etc/passwd", 1.0)], "has no voice"),
    ],
)
def test_what_cannot_be_served_is_refused(folder, parts, words):
    with pytest.raises(RequestRefused, match=words) as refused:
        Voices(folder, ENGLISH).language(parts)
    assert refused.value.error.param == "voice"


def test_a_damaged_voice_fails_its_request_only(folder):
    voices = Voices(folder, ENGLISH)
    with pytest.raises(RequestRefused, match="the voice af_cut is damaged"):
        voices.styles(blend(af_cut=1.0))


def test_a_folder_without_voices_is_refused(tmp_path):
    with pytest.raises(ModelFolderError, match="has no voices"):
        Voices(tmp_path, ENGLISH)
