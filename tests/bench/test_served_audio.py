"""The raw Whisper pipeline and a server with the same real model, side by side: Whisper tiny.en."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import figures, served_audio
from bench.engine import launch_like_a_server
from bench.engine_process import EngineProcess
from bench.errors import RunFailed
from bench.served import MODEL_NAME
from bench.served_audio import AudioSides, audio_throughput, speeches, transcriptions
from bench.server import Server, nacelle_server

LOAD_SECONDS = 120.0


@pytest.fixture(scope="module")
def raw(whisper_ir: Path) -> Iterator[EngineProcess]:
    with EngineProcess(launch_like_a_server(str(whisper_ir))) as process:
        yield process


@pytest.fixture(scope="module")
def server(whisper_ir: Path) -> Iterator[Server]:
    with nacelle_server(str(whisper_ir), "--name", MODEL_NAME) as server:
        server.wait_for(f"/ready/{MODEL_NAME}", LOAD_SECONDS)
        yield server


def test_both_sides_transcribe_the_same_seconds_and_the_figure_is_a_ratio_of_pairs(
    raw: EngineProcess, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_audio, "_AUDIO_SECONDS", 4.0)
    monkeypatch.setattr(served_audio, "_REQUESTS", 1)
    sides = AudioSides(server, raw, transcriptions(None))
    assert [record.audio_seconds for record in raw.run(sides.workload())] == [pytest.approx(4.0, abs=0.01)]
    figure = audio_throughput(sides, figures.SERVED_TRANSCRIPTION, concurrency=1, pairs=1)
    assert figure.samples == [pair.ratio for pair in figure.pairs]
    assert all(pair.ours > 0 and pair.yardstick > 0 for pair in figure.pairs)


def test_speech_is_measured_in_an_english_voice_of_the_model(tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    with pytest.raises(RunFailed, match="no voices"):
        speeches(tmp_path)
    for name in ("zf_one", "am_two", "bf_three"):
        (tmp_path / "voices" / f"{name}.bin").touch()
    workload = speeches(tmp_path)(3, 4)
    assert (workload.seed, workload.requests, workload.concurrency) == (3, 4, 4)
    assert getattr(workload, "voice", None) == "am_two"
