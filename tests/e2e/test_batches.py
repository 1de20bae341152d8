"""A batch outlives its server. Hosts are real processes with the synthetic engine, whose speed is known."""

import json
import os
import signal
from pathlib import Path
from typing import Literal

import openai
from openai.types import Batch

from tests.e2e.serving import Serving, wait_for

ENDPOINT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
MODEL = "synthetic"
COUNT = 24


def lines() -> bytes:
    body = {"model": MODEL, "max_tokens": 20}
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


def serving(folder: Path) -> Serving:
    options = ["--file-store", str(folder / "kept"), "--max-batch-requests", "2"]
    return Serving(["synthetic:200"], options, {})


def counts(batch: Batch) -> tuple[int, int]:
    assert batch.request_counts is not None
    return batch.request_counts.completed, batch.request_counts.failed


def test_a_server_that_is_killed_in_the_middle_of_a_batch_leaves_it_to_the_next(tmp_path: Path):
    with serving(tmp_path) as server, server.wait_until_ready(MODEL).client() as client:
        file = client.files.create(file=("in.jsonl", lines()), purpose="batch")
        made = client.batches.create(input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h")
        wait_for(lambda: counts(client.batches.retrieve(made.id))[0] >= 4, "a few lines are answered")
        os.kill(server.pid, signal.SIGKILL)
        server.wait_for_exit()
    [partial] = [path for path in (tmp_path / "kept/files").iterdir() if path.name != file.id]
    answered = partial.read_bytes().splitlines()
    assert 4 <= len(answered) < COUNT
    with serving(tmp_path) as server, server.wait_until_ready(MODEL).client() as client:
        batch = completed(client, made.id)
        assert counts(batch) == (COUNT, 0)
        output = client.files.content(batch.output_file_id or "").content.splitlines()
    assert output[: len(answered) - 1] == answered[:-1]  # the last one may have been cut
    found = [json.loads(row) for row in output]
    assert sorted(row["custom_id"] for row in found) == sorted(f"number-{number}" for number in range(COUNT))
    assert all(row["response"]["body"]["usage"]["completion_tokens"] == 20 for row in found)


def completed(client: openai.OpenAI, batch_id: str) -> Batch:
    def ended() -> Batch | None:
        batch = client.batches.retrieve(batch_id)
        return batch if batch.status == "completed" else None

    batch: Batch = wait_for(ended, "the batch is completed", 60)
    return batch
