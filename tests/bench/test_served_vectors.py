"""The raw embedding pipeline and a server with the same real model, side by side: all-MiniLM-L6-v2."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import served_vectors
from bench.engine import launch_like_a_server
from bench.engine_process import EngineProcess
from bench.load import Target, run
from bench.served import MODEL_NAME
from bench.served_vectors import VectorSides, many_requests, one_request
from bench.server import Server, nacelle_server
from bench.stats import summarize
from bench.vectors import VectorWorkload

LOAD_SECONDS = 90.0


@pytest.fixture(scope="module")
def raw(minilm_ir: Path) -> Iterator[EngineProcess]:
    with EngineProcess(launch_like_a_server(str(minilm_ir))) as process:
        yield process


@pytest.fixture(scope="module")
def server(minilm_ir: Path) -> Iterator[Server]:
    with nacelle_server(str(minilm_ir), "--name", MODEL_NAME) as server:
        server.wait_for(f"/ready/{MODEL_NAME}", LOAD_SECONDS)
        yield server


def _workload(requests: int, inputs: int) -> VectorWorkload:
    return VectorWorkload("embeddings", requests, inputs, prompt_words=5, seed=1, spread=0.8, concurrency=3)


@pytest.mark.parametrize(("requests", "inputs"), [(40, 1), (2, 20)])
def test_both_sides_count_the_same_tokens(raw: EngineProcess, server: Server, requests: int, inputs: int):
    workload = _workload(requests, inputs)
    ours = summarize(run(Target(server.base_url, MODEL_NAME), workload).records)
    yardstick = summarize(raw.run(workload))
    assert (ours.completed, ours.failures) == (requests, {})
    assert ours.prompt_tokens == yardstick.prompt_tokens
    assert ours.prompt_tokens_per_second and yardstick.prompt_tokens_per_second


def test_the_figures_are_ratios_of_pairs(
    raw: EngineProcess, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_vectors, "_REQUESTS", 20)
    monkeypatch.setattr(served_vectors, "_INPUTS", 30)
    sides = VectorSides(server, raw)
    sides.ask()
    for figure in (many_requests(sides, concurrency=4, pairs=2), one_request(sides, pairs=2)):
        assert figure.samples == [pair.ratio for pair in figure.pairs]
        assert len(figure.pairs) == 2
        assert all(pair.ours > 0 and pair.yardstick > 0 for pair in figure.pairs)
