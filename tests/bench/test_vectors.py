"""Requests for embeddings and rerank, and the reading of their answers."""

import array
import base64
import math
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from bench.cli import bench
from bench.client import Response
from bench.errors import BadAnswer
from bench.load import Target, requests_of
from bench.stats import summarize
from bench.vectors import VectorWorkload, read_record, read_vectors


def _workload(**changes: Any) -> VectorWorkload:
    fields: dict[str, Any] = {"task": "embeddings", "requests": 3, "inputs": 4, "prompt_words": 10, "seed": 1}
    return VectorWorkload(**fields | changes)


def _answer(**body: Any) -> Response:
    return Response(200, 1.0, 3.0, msgspec.json.encode(body), [])


def _data(*vectors: Any) -> list[dict[str, Any]]:
    return [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]


def test_a_seed_fixes_the_texts_and_no_two_begin_alike():
    texts = _workload().inputs_by_request()
    assert texts == _workload().inputs_by_request() != _workload(seed=2).inputs_by_request()
    assert [len(inputs) for inputs in texts] == [4, 4, 4]
    assert len({text.split()[0] for inputs in texts for text in inputs}) == 12


def test_without_spread_all_inputs_are_equally_long_and_with_it_they_lie_around_the_median():
    def lengths(spread: float) -> list[int]:
        texts = _workload(requests=500, inputs=1, spread=spread).inputs_by_request()
        return sorted(len(text.split()) for [text] in texts)

    assert set(lengths(0.0)) == {10}
    spread = lengths(0.8)
    assert 8 <= spread[250] <= 12
    assert (spread[0] < 5, spread[-1]) == (True, 40)


def test_bodies_are_what_servers_expect():
    embeddings = msgspec.json.decode(_workload(encoding="float").bodies("m")[0])
    assert embeddings == {"model": "m", "input": embeddings["input"], "encoding_format": "float"}
    assert len(embeddings["input"]) == 4
    requests = requests_of(Target("http://x", "m"), _workload(task="rerank"))
    assert requests.path == "/rerank"
    queries = [msgspec.json.decode(body)["query"] for body in requests.bodies]
    assert len(set(queries)) == 3
    assert len(msgspec.json.decode(requests.bodies[0])["documents"]) == 4


def test_vectors_are_read_in_the_order_of_the_request():
    encoded = base64.b64encode(array.array("f", [0.5, 2.0]).tobytes()).decode()
    assert read_vectors(_answer(data=_data([1.0, 2.0], encoded))) == [[1.0, 2.0], [0.5, 2.0]]
    results = [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]
    assert read_vectors(_answer(results=results)) == [[0.1], [0.9]]


def test_a_record_counts_the_servers_tokens_whatever_it_calls_them():
    for usage in ({"prompt_tokens": 7, "total_tokens": 7}, {"total_tokens": 7}):
        record = read_record(_answer(data=_data([1.0]), usage=usage), inputs=1)
        assert (record.prompt_tokens, record.e2e, record.failure) == (7, 2.0, None)
        assert summarize([record]).prompt_tokens_per_second == 3.5
    unknown = summarize([read_record(_answer(data=_data([1.0])), inputs=1)])
    assert unknown.prompt_tokens_per_second is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"data": _data([1.0])}, "incomplete_answer"),
        ({"data": []}, "incomplete_answer"),
        ({"data": _data([1.0], [])}, "malformed_answer"),
        ({"data": _data([1.0], [math.nan])}, "malformed_answer"),  # null in JSON
        ({"data": _data([1.0], "!")}, "malformed_answer"),
        ({"data": _data([1.0], "AAAA")}, "malformed_answer"),  # 3 bytes
        ({"data": [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}]}, "malformed_answer"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failure(body, kind):
    with pytest.raises(BadAnswer) as caught:
        read_record(_answer(**body), inputs=2)
    assert caught.value.kind == kind


def test_options_of_another_task_are_usage_errors():
    arguments = ["serve", "--base-url", "http://x", "--model", "m", "--task", "embeddings"]
    assert CliRunner().invoke(bench, [*arguments, "--prompt-tokens", "9"]).exit_code == 2
    assert CliRunner().invoke(bench, [*arguments, "--inputs", "0"]).exit_code == 2
