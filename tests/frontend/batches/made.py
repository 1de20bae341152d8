"""Batches and inputs for tests."""

import json
from typing import Any

from frontend.batches.record import BatchRecord
from frontend.caller import Caller

ENDPOINT = "/v1/chat/completions"


def batch(**fields: Any) -> BatchRecord:
    return BatchRecord(
        **{
            "id": "batch_1",
            "caller": Caller(key_id="alice", is_batch=True),
            "endpoint": ENDPOINT,
            "input_file_id": "file-in",
            "completion_window": "24h",
            "created_at": 1000,
            "expires_at": 2000,
            "output_id": "file-out",
            "error_id": "file-err",
            **fields,
        }
    )


def line(custom_id: Any = "a", **fields: Any) -> bytes:
    whole = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": {"model": "m"}} | fields
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode() + b"\n"
