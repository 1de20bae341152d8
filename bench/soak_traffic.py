"""What clients of `nacelle bench soak` ask beside the tasks: the other endpoints for text, batches,
Socket.IO, and what an operator reads."""

import asyncio
import importlib.util
from functools import partial
from typing import Any

import msgspec

from bench.chaos_traffic import Answer, Lane
from bench.client import Client, Response, clock
from bench.completions import Said, read_text, request_body
from bench.errors import BadAnswer, ConnectFailed, DeadlineExceeded
from bench.forms import CONTENT_TYPE as FORM_TYPE
from bench.forms import encode_form
from bench.workload import text_prompt

OPERATOR_PATHS = (
    "/v1/status",
    "/v1/models",
    "/admin/stats",
    "/admin/hosts",
    "/admin/requests",
    "/admin/incidents",
    "/admin/refusals",
)
_REQUESTS = 4
_PROMPT_WORDS = 16
_BATCH_LINES = 3
_BATCHES = 2
_BATCH_POLL_SECONDS = 0.5
_BATCH_ENDPOINT = "/v1/chat/completions"
_OPERATOR_PAUSE_SECONDS = 1.0
_UNENDED = ("validating", "in_progress", "finalizing")


def other_lanes(model: str, max_tokens: int, seed: int) -> list[Lane]:
    """Endpoints beside the tasks' own, of the model for text. Socket.IO only if its client is installed."""
    prompts = [text_prompt(seed, index, _PROMPT_WORDS) for index in range(_REQUESTS)]
    lanes = [
        *_completion_lanes(model, prompts, max_tokens),
        Lane("responses", "/responses", _responses(model, prompts, max_tokens), read_responses),
        Lane("messages", "/messages", _messages(model, prompts, max_tokens), read_message),
        _tokenize_lane(model, prompts),
        _batch_lane(model, prompts, max_tokens),
        _operator_lane("admin", OPERATOR_PATHS),
        _operator_lane("metrics", ("/metrics",)),
    ]
    if all(importlib.util.find_spec(package) for package in ("socketio", "aiohttp")):
        lanes.append(_socketio_lane(model, prompts, max_tokens))
    return lanes


def read_responses(response: Response) -> Answer:
    """The text of an object of /v1/responses. Raises BadAnswer."""
    body = _object(response)
    parts = [part for item in body.get("output", []) for part in item.get("content") or []]
    text = "".join(part.get("text", "") for part in parts)
    return Said(text, body.get("usage", {}).get("output_tokens"), body.get("status"))


def read_message(response: Response) -> Answer:
    """The text of an answer of /v1/messages. Raises BadAnswer."""
    body = _object(response)
    text = "".join(part.get("text", "") for part in body.get("content", []))
    return Said(text, body.get("usage", {}).get("output_tokens"), body.get("stop_reason"))


def read_whole(response: Response) -> Answer:
    """A JSON object as it is. Raises BadAnswer."""
    _object(response)
    return Said(response.body.decode(), None, None)


def read_batch(lines: bytes) -> list[tuple[str, str]]:
    """By custom id, the text of each line of a batch's output, sorted. Raises BadAnswer."""
    found = []
    for line in lines.splitlines():
        try:
            answer = msgspec.json.decode(line)
            found.append(
                (answer["custom_id"], answer["response"]["body"]["choices"][0]["message"]["content"])
            )
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise BadAnswer("malformed_answer", f"{error!r}: {line[:200]!r}") from None
    return sorted(found)


def _object(response: Response) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(response.body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BadAnswer("malformed_answer", f"{error}: {response.body[:200]!r}") from None
    if body.get("error"):
        raise BadAnswer("error_object", str(body["error"]))
    return body


def _read_any(response: Response) -> Answer:
    """Nothing of an answer that changes from one moment to the next, except that there is one."""
    if not response.body:
        raise BadAnswer("empty_answer", "the body is empty")
    return Said("", None, None)


def _completion_lanes(model: str, prompts: list[str], max_tokens: int) -> list[Lane]:
    return [
        Lane(
            "completions",
            "/completions",
            [
                request_body(model, "completions", prompt, max_tokens, stream=stream, ignore_eos=True)
                for prompt in prompts
            ],
            read_text,
        )
        for stream in (False, True)
    ]


def _responses(model: str, prompts: list[str], max_tokens: int) -> list[bytes]:
    shared = {"model": model, "max_output_tokens": max_tokens, "temperature": 0}
    return [msgspec.json.encode({**shared, "input": prompt}) for prompt in prompts]


def _messages(model: str, prompts: list[str], max_tokens: int) -> list[bytes]:
    shared = {"model": model, "max_tokens": max_tokens, "temperature": 0}
    return [msgspec.json.encode({**shared, "messages": _said(prompt)}) for prompt in prompts]


def _said(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


def _tokenize_lane(model: str, prompts: list[str]) -> Lane:
    bodies = [msgspec.json.encode({"model": model, "prompt": prompt}) for prompt in prompts]
    return Lane("tokenize", "/tokenize", bodies, read_whole, ask=_tokenize, pause=_OPERATOR_PAUSE_SECONDS)


async def _tokenize(client: Client, body: bytes, deadline: float) -> Response:
    return await client.request("POST", "/tokenize", body, deadline)


def _operator_lane(name: str, paths: tuple[str, ...]) -> Lane:
    bodies = [path.encode() for path in paths]
    return Lane(name, name, bodies, _read_any, ask=_get, pause=_OPERATOR_PAUSE_SECONDS)


async def _get(client: Client, path: bytes, deadline: float) -> Response:
    return await client.request("GET", path.decode(), b"", deadline)


def _batch_lane(model: str, prompts: list[str], max_tokens: int) -> Lane:
    bodies = [
        _batch_input(model, prompts[first : first + _BATCH_LINES], max_tokens) for first in range(_BATCHES)
    ]
    return Lane("batches", "/batches", bodies, _read_batch_answer, ask=_run_batch)


def _batch_input(model: str, prompts: list[str], max_tokens: int) -> bytes:
    shared = {"model": model, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True}
    lines = [
        {
            "custom_id": str(number),
            "method": "POST",
            "url": _BATCH_ENDPOINT,
            "body": {**shared, "messages": _said(prompt)},
        }
        for number, prompt in enumerate(prompts)
    ]
    return b"\n".join(map(msgspec.json.encode, lines))


def _read_batch_answer(response: Response) -> Answer:
    return Said(repr(read_batch(response.body)), None, None)


async def _run_batch(client: Client, lines: bytes, deadline: float) -> Response:
    """Upload a file, run it as a batch, read its output and delete both files; the answer is the output."""
    started, until = clock(), clock() + deadline
    form = encode_form({"purpose": "batch"}, "in.jsonl", lines)
    uploaded = _object(await client.post("/files", form, deadline, FORM_TYPE))["id"]
    asked = {"input_file_id": uploaded, "endpoint": _BATCH_ENDPOINT, "completion_window": "24h"}
    batch = _object(await client.post("/batches", msgspec.json.encode(asked), deadline))
    while batch["status"] in _UNENDED:
        if clock() > until:
            raise DeadlineExceeded(f"the batch is still {batch['status']} after {deadline:g} s")
        await asyncio.sleep(_BATCH_POLL_SECONDS)
        batch = await _get_object(client, f"/v1/batches/{batch['id']}", deadline)
    if batch["status"] != "completed" or batch.get("error_file_id"):
        raise BadAnswer("batch_failed", msgspec.json.encode(batch).decode())
    output = await client.request("GET", f"/v1/files/{batch['output_file_id']}/content", b"", deadline)
    for file in (uploaded, batch["output_file_id"]):
        await client.request("DELETE", f"/v1/files/{file}", b"", deadline)
    return Response(200, started, clock(), output.body, [])


async def _get_object(client: Client, path: str, deadline: float) -> dict[str, Any]:
    answer = await client.request("GET", path, b"", deadline)
    return msgspec.json.decode(answer.body, type=dict[str, Any])


def _socketio_lane(model: str, prompts: list[str], max_tokens: int) -> Lane:
    shared = {"model": model, "max_tokens": max_tokens, "temperature": 0}
    bodies = [msgspec.json.encode({**shared, "messages": _said(prompt)}) for prompt in prompts]
    return Lane("socketio", "/socket.io", bodies, _read_event, ask=_over_socketio)


def _read_event(response: Response) -> Answer:
    body = _object(response)
    return Said(body["message"], None, body.get("finish_reason"))


async def _over_socketio(client: Client, prompt: bytes, deadline: float) -> Response:
    """One connection with one prompt; the answer is what `inference_complete` carries."""
    import socketio

    started = clock()
    ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    connection = socketio.AsyncClient(reconnection=False)
    connection.on("inference_complete", partial(_settle, ended))
    connection.on("inference_error", partial(_settle, ended))
    connection.on("disconnect", lambda *reason: _settle(ended, {"error": f"disconnected {reason}"}))
    try:
        async with asyncio.timeout(deadline):
            await connection.connect(client.origin, transports=["websocket"])
            await connection.emit("inference_prompt", msgspec.json.decode(prompt))
            found = await ended
    except TimeoutError:
        raise DeadlineExceeded(f"no answer within {deadline:g} s") from None
    except socketio.exceptions.SocketIOError as error:
        raise ConnectFailed(f"Socket.IO: {error}") from None
    finally:
        await connection.disconnect()
    return Response(200, started, clock(), msgspec.json.encode(found), [])


def _settle(ended: "asyncio.Future[Any]", data: Any) -> None:
    if not ended.done():
        ended.set_result(data)
