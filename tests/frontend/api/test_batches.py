"""/v1/files and /v1/batches over a host that is a stand-in: what clients send and get."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import openai
import openai.types
import pytest

from frontend.caller import Caller
from frontend.config import Settings
from frontend.http.inside import Answer, ask
from tests.frontend.api.test_embeddings import CARD, embedded
from tests.frontend.api.vector_server import VectorServer, run

ALICE, BOB = Caller(key_id="alice"), Caller(key_id="bob")
EMBEDDINGS: Literal["/v1/embeddings"] = "/v1/embeddings"


def requests(count: int, **body: Any) -> bytes:
    lines = [
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": EMBEDDINGS,
            "body": {"model": "m", "input": f"text {number}"} | body,
        }
        for number in range(count)
    ]
    return "\n".join(map(json.dumps, lines)).encode()


def served(tmp_path: Path, scenario: Callable[[VectorServer], Awaitable[None]], **settings: Any) -> None:
    async def replying(server: VectorServer) -> None:
        server.host.reply = embedded
        await scenario(server)

    run(replying, CARD, Settings(file_store=str(tmp_path / "kept"), **settings))


def client_of(server: VectorServer) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url="http://localhost/v1",
        api_key="x",
        max_retries=0,
        http_client=server.http,  # type: ignore[arg-type]
    )


async def ended(client: openai.AsyncOpenAI, batch_id: str) -> openai.types.Batch:
    async with asyncio.timeout(10):
        while (batch := await client.batches.retrieve(batch_id)).status in (
            "validating",
            "in_progress",
            "finalizing",
            "cancelling",
        ):
            await asyncio.sleep(0.005)
    return batch


async def upload(server: VectorServer, data: bytes, **fields: str) -> str:
    answer = await server.http.post(
        "/v1/files", files={"file": ("in.jsonl", data)}, data={"purpose": "batch"} | fields
    )
    assert answer.status_code == 200, answer.text
    file_id: str = answer.json()["id"]
    return file_id


async def create(server: VectorServer, file: str, **fields: Any) -> Any:
    body = {"input_file_id": file, "endpoint": EMBEDDINGS, "completion_window": "24h"} | fields
    return await server.http.post("/v1/batches", json=body)


def test_the_openai_client_makes_a_batch_and_reads_its_answers(tmp_path):
    async def scenario(server: VectorServer) -> None:
        client = client_of(server)
        data = requests(5) + b"\n" + requests(1, model="nobody").replace(b"r0", b"bad")
        file = await client.files.create(
            file=("in.jsonl", data),
            purpose="batch",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )
        assert (file.bytes, file.filename, file.purpose) == (len(data), "in.jsonl", "batch")
        assert file.expires_at == file.created_at + 3600
        assert await client.files.retrieve(file.id) == file
        made = await client.batches.create(
            input_file_id=file.id,
            endpoint=EMBEDDINGS,
            completion_window="24h",
            metadata={"team": "a"},
            output_expires_after={"anchor": "created_at", "seconds": 7200},
        )
        assert (made.status, made.metadata) == ("validating", {"team": "a"})
        assert made.expires_at == made.created_at + 86_400
        batch = await ended(client, made.id)
        assert (batch.status, batch.errors) == ("completed", None)
        assert batch.request_counts is not None
        assert batch.request_counts.to_dict() == {"total": 6, "completed": 5, "failed": 1}
        assert batch.usage is not None
        assert (batch.usage.input_tokens, batch.usage.total_tokens) == (35, 35)
        output = await client.files.retrieve(batch.output_file_id or "")
        assert (output.purpose, output.expires_at) == ("batch_output", output.created_at + 7200)
        rows = [json.loads(row) for row in (await client.files.content(output.id)).text.splitlines()]
        assert sorted(row["custom_id"] for row in rows) == [f"r{number}" for number in range(5)]
        for row in rows:
            assert row["response"]["status_code"] == 200
            openai.types.CreateEmbeddingResponse.model_validate(row["response"]["body"])
        [wrong] = (await client.files.content(batch.error_file_id or "")).text.splitlines()
        assert json.loads(wrong)["response"]["body"]["error"]["code"] == "model_not_found"
        listed = [one.id async for one in client.files.list()]
        assert listed == [batch.error_file_id, batch.output_file_id, file.id]
        assert [one.id async for one in client.batches.list()] == [batch.id]
        assert (await client.files.delete(file.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.files.content(file.id)

    served(tmp_path, scenario)


def test_lists_come_in_pages(tmp_path):
    async def scenario(server: VectorServer) -> None:
        client = client_of(server)
        files = [await upload(server, b"x") for _ in range(5)]
        batches = [(await create(server, file)).json()["id"] for file in files]
        assert [one.id async for one in client.files.list(limit=2, order="asc")] == files
        assert [one.id async for one in client.batches.list(limit=2)] == batches[::-1]
        page = (await server.http.get("/v1/batches?limit=5")).json()
        assert (page["has_more"], page["first_id"], page["last_id"]) == (False, batches[4], batches[0])
        for query, param in (("limit=0", "limit"), ("limit=101", "limit"), ("limit=x", "limit")):
            answer = await server.http.get(f"/v1/batches?{query}")
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        answer = await server.http.get("/v1/files?order=up")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "order")
        assert (await server.http.get("/v1/files?after=file-no")).status_code == 404
        empty = (await server.http.get("/v1/files?purpose=vision")).json()
        assert (empty["data"], empty["first_id"]) == ([], None)

    served(tmp_path, scenario)


REFUSED_BATCHES: list[tuple[dict[str, Any], str]] = [
    ({"endpoint": "/v1/moderations"}, "endpoint"),
    ({"endpoint": "/v1/models"}, "endpoint"),
    ({"completion_window": "soon"}, "completion_window"),
    ({"completion_window": "31d"}, "completion_window"),
    ({"completion_window": "0h"}, "completion_window"),
    ({"completion_window": None}, "completion_window"),
    ({"input_file_id": 7}, "input_file_id"),
    ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
    ({"metadata": {"a": "x" * 513}}, "metadata[...]"),
    ({"output_expires_after": {"anchor": "created_at", "seconds": 60}}, "output_expires_after.seconds"),
]


def test_a_batch_that_cannot_be_made_is_a_400_that_names_why(tmp_path):
    async def scenario(server: VectorServer) -> None:
        file = await upload(server, requests(1))
        for fields, param in REFUSED_BATCHES:
            answer = await create(server, file, **fields)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text

    served(tmp_path, scenario)


REFUSED_FILES: list[tuple[dict[str, Any], dict[str, str], str]] = [
    ({"file": ("f", b"x")}, {}, "purpose"),
    ({"file": ("f", b"x")}, {"purpose": "batch_output"}, "purpose"),
    ({"other": ("f", b"x")}, {"purpose": "batch"}, "file"),
    (
        {"file": ("f", b"x")},
        {"purpose": "batch", "expires_after[seconds]": "3600"},
        "expires_after.anchor",
    ),
    (
        {"file": ("f", b"x")},
        {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "1"},
        "expires_after.seconds",
    ),
]


def test_a_file_that_cannot_be_stored_is_a_400_that_names_why(tmp_path):
    async def scenario(server: VectorServer) -> None:
        for files, fields, param in REFUSED_FILES:
            answer = await server.http.post("/v1/files", files=files, data=fields)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text

    served(tmp_path, scenario)


def test_a_file_with_another_purpose_is_no_input(tmp_path):
    async def scenario(server: VectorServer) -> None:
        answer = await create(server, await upload(server, requests(1), purpose="user_data"))
        assert answer.status_code == 400
        assert "purpose batch" in answer.json()["error"]["message"]
        assert (await create(server, "file-no")).status_code == 404

    served(tmp_path, scenario)


def test_an_invalid_input_is_told_by_line(tmp_path):
    async def scenario(server: VectorServer) -> None:
        client = client_of(server)
        data = requests(2) + b"\nnonsense\n" + requests(1)
        made = (await create(server, await upload(server, data))).json()
        batch = await ended(client, made["id"])
        assert batch.status == "failed"
        assert batch.errors is not None
        assert [(error.code, error.line) for error in batch.errors.data or []] == [
            ("invalid_json_line", 3),
            ("duplicate_custom_id", 4),
        ]
        assert not server.host.sent

    served(tmp_path, scenario)


def test_a_batch_that_is_cancelled_again_or_too_late_stays_as_it_is(tmp_path):
    async def scenario(server: VectorServer) -> None:
        client = client_of(server)
        server.host.reply = lambda work: None
        made = (await create(server, await upload(server, requests(3)))).json()
        while len(server.host.sent) < 3:
            await asyncio.sleep(0.001)
        assert (await client.batches.cancel(made["id"])).status == "cancelling"
        batch = await ended(client, made["id"])
        assert (batch.status, batch.output_file_id) == ("cancelled", None)
        assert await client.batches.cancel(made["id"]) == batch

    served(tmp_path, scenario)


def test_other_keys_find_neither_files_nor_batches(tmp_path):
    async def scenario(server: VectorServer) -> None:
        async def asked(caller: Caller, method: str, path: str, body: bytes = b"") -> Answer:
            return await ask(server.app, caller, path, body, method=method)

        boundary = b"--b\r\nContent-Disposition: form-data; name="
        form = boundary + b'"purpose"\r\n\r\nbatch\r\n'
        form += boundary + b'"file"; filename="f"\r\n\r\n' + requests(1) + b"\r\n--b--\r\n"
        kind = [(b"content-type", b"multipart/form-data; boundary=b")]
        file = json.loads((await ask(server.app, ALICE, "/v1/files", form, headers=kind)).body)["id"]
        fields = {"input_file_id": file, "endpoint": EMBEDDINGS, "completion_window": "24h"}
        body = json.dumps(fields).encode()
        assert (await asked(BOB, "POST", "/v1/batches", body)).status == 404
        batch = json.loads((await asked(ALICE, "POST", "/v1/batches", body)).body)["id"]
        for method, path in (
            ("GET", f"/v1/files/{file}"),
            ("GET", f"/v1/files/{file}/content"),
            ("DELETE", f"/v1/files/{file}"),
            ("GET", f"/v1/batches/{batch}"),
            ("POST", f"/v1/batches/{batch}/cancel"),
        ):
            assert (await asked(BOB, method, path)).status == 404, path
        assert json.loads((await asked(BOB, "GET", "/v1/files")).body)["data"] == []
        assert json.loads((await asked(BOB, "GET", "/v1/batches")).body)["data"] == []
        assert (await asked(ALICE, "GET", f"/v1/files/{file}/content")).body == requests(1)

    served(tmp_path, scenario)


def test_a_name_is_returned_as_a_header_may_hold_it(tmp_path):
    async def scenario(server: VectorServer) -> None:
        answer = await server.http.post(
            "/v1/files", files={"file": ('a"b ü.jsonl', b"x" * 600_000)}, data={"purpose": "user_data"}
        )
        file = answer.json()
        assert file["expires_at"] is None
        content = await server.http.get(f"/v1/files/{file['id']}/content")
        assert content.content == b"x" * 600_000
        assert content.headers["content-length"] == "600000"
        assert content.headers["content-disposition"].isascii()

    served(tmp_path, scenario)


def test_an_upload_that_is_too_large_is_a_413(tmp_path):
    async def scenario(server: VectorServer) -> None:
        answer = await server.http.post(
            "/v1/files", files={"file": ("f", b"x" * 5000)}, data={"purpose": "user_data"}
        )
        assert (answer.status_code, answer.json()["error"]["param"]) == (413, "file")

    served(tmp_path, scenario, max_upload_bytes=4096)


def test_a_folder_that_cannot_be_written_is_a_503_at_use(tmp_path):
    (tmp_path / "kept").write_text("a file")

    async def scenario(server: VectorServer) -> None:
        answer = await server.http.post(
            "/v1/files", files={"file": ("f", b"x")}, data={"purpose": "user_data"}
        )
        assert answer.status_code == 503
        assert "--file-store" in answer.json()["error"]["message"]
        assert str(tmp_path) not in answer.text
        assert (await server.post(EMBEDDINGS, input="x")).status_code == 200

    served(tmp_path, scenario)


LONG = "x" * 3000


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/files/{LONG}"),
        ("DELETE", f"/v1/files/{LONG}"),
        ("GET", f"/v1/files/{LONG}/content"),
        ("GET", f"/v1/files?after={LONG}"),
        ("GET", f"/v1/files?order={LONG}"),
        ("GET", f"/v1/batches/{LONG}"),
        ("POST", f"/v1/batches/{LONG}/cancel"),
        ("GET", f"/v1/batches?after={LONG}"),
        ("GET", f"/v1/responses/{LONG}"),
        ("GET", f"/v1/responses/{LONG}/input_items?order={LONG}"),
        ("GET", f"/admin/downloads/{LONG}"),
        ("PATCH", f"/v1/files/{LONG}"),
        ("GET", f"/nothing/{LONG}"),
    ],
)
def test_errors_do_not_repeat_what_is_long(tmp_path, method, path):
    async def scenario(server: VectorServer) -> None:
        answer = await server.http.request(method, path)
        assert 400 <= answer.status_code < 500
        assert "xxx…" in answer.text and len(answer.text) < 400

    served(tmp_path, scenario)
