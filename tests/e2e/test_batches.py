"""A batch outlives its server."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import openai
from openai.types import Batch

from tests.e2e.serving import MODEL, Serving, wait_for

ENDPOINT = "/v1/chat/completions"
COUNT = 24


def lines() -> bytes:
    body = {"model": MODEL, "max_tokens": 48, "ignore_eos": True, "seed": 1}
    made = [
        {
            "custom_id": f"number-{number}",
            "method": "POST",
            "url": ENDPOINT,
            "body": body | {"messages": [{"role": "user", "content": f"Spell {number}."}]},
        }
        for number in range(COUNT)
    ]
    return "\n".join(map(json.dumps, made)).encode()


def counts(batch: Batch) -> tuple[int, int]:
    assert batch.request_counts is not None
    return batch.request_counts.completed, batch.request_counts.failed


def test_a_server_that_is_killed_in_the_middle_of_a_batch_leaves_it_to_the_next(
    start: Callable[..., Serving], tmp_path: Path
):
    options = ("--file-store", str(tmp_path / "kept"), "--max-batch-requests", "2")
    server = start(*options)
    with server.client() as client:
        file = client.files.create(file=("in.jsonl", lines()), purpose="batch")
        made = client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")
        wait_for(lambda: counts(client.batches.retrieve(made.id))[0] >= 4, "a few lines are answered")
    os.kill(server.pid, signal.SIGKILL)
    server.wait_for_exit()
    [partial] = [path for path in (tmp_path / "kept/files").iterdir() if path.name != file.id]
    answered = partial.read_bytes().splitlines()
    assert 4 <= len(answered) < COUNT
    with start(*options).client() as client:
        batch = completed(client, made.id)
        assert counts(batch) == (COUNT, 0)
        output = client.files.content(batch.output_file_id or "").content.splitlines()
    assert output[: len(answered) - 1] == answered[:-1]  # the last one may have been cut
    found = [json.loads(row) for row in output]
    assert sorted(row["custom_id"] for row in found) == sorted(f"number-{number}" for number in range(COUNT))
    assert all(row["response"]["body"]["usage"]["completion_tokens"] == 48 for row in found)


def completed(client: openai.OpenAI, batch_id: str) -> Batch:
    def ended() -> Batch | None:
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status == "completed" else None

    batch: Batch = wait_for(ended, "the batch is completed", 60)
    return batch
