"""What the first commands of a newcomer answer, without a server."""

import io
from typing import Any, cast

import click
import pytest

from bench.tuning.agreement import MIN_TEXT, MIN_VECTORS
from bench.tuning.command import Request, required_agreement
from frontend.cli.abilities import cannot_reason, check_chats
from frontend.cli.client import Client, Refused, _error_of, _refused
from frontend.cli.connection import Response
from frontend.cli.logs import logs
from frontend.cli.terminal import PlainReporter
from frontend.models.by_name import explain_unknown
from frontend.models.shelf import Shelf


class Answers:
    """Stands in for a client of a server."""

    def __init__(self, task: str = "", capabilities: tuple[str, ...] | None = None) -> None:
        self.task, self.capabilities = task, capabilities

    def get(self, path: str) -> Any:
        if not self.task:
            raise Refused(404, "not served")
        return {"task": self.task}

    def post(self, path: str, body: Any) -> Any:
        if self.capabilities is None:
            raise Refused(404, "not served")
        return {"capabilities": list(self.capabilities)}


def test_a_model_that_cannot_chat_is_refused():
    check_chats(cast(Client, Answers("text")), "m")
    check_chats(cast(Client, Answers()), "m")
    with pytest.raises(click.ClickException, match="m computes embeddings; choose a model that generates"):
        check_chats(cast(Client, Answers("embeddings")), "m")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [(("completion",), True), (("completion", "thinking"), False), (("embedding",), False), (None, False)],
)
def test_whether_a_model_reasons_is_asked(capabilities, expected):
    assert cannot_reason(cast(Client, Answers(capabilities=capabilities)), "m") is expected


def test_fields_of_requests_that_nobody_wrote_are_not_shown():
    error = {"message": "source: the catalogue has no 'x'", "param": "source"}
    assert _refused(400, {"error": error}).message == "the catalogue has no 'x'"
    error = {"message": "temperature: must be a number", "param": "temperature"}
    assert _refused(400, {"error": error}).message == "temperature: must be a number"


class _Response(io.BytesIO):
    status, reason = 401, "Unauthorized"


@pytest.mark.parametrize(("key", "words"), [("k", "does not accept"), (None, "requires an API key")])
def test_a_wrong_key_is_told_from_a_missing_one(key, words):
    class Address:
        api_key = key

    response = cast(Response, _Response(b'{"error": {"message": "no"}}'))
    assert words in _error_of(response, cast(Any, Address())).message


def test_where_a_download_ended_is_printed(capsys):
    times = iter((0.0, 0.0, 0.0, 5.0, 5.0, 5.1))
    reporter = PlainReporter(lambda: next(times))
    reporter.step("Fetching it")
    for done in (0, 83, 93):
        reporter.progress(done * 1_000_000, 93_000_000)
    reporter.close(done=True)
    reporter.close(done=True)
    assert capsys.readouterr().err.splitlines() == ["Fetching it", "  83 of 93 MB", "  93 of 93 MB"]


@pytest.mark.parametrize("prefix", ["", "hf:", "hf.co/", "huggingface.co/", "https://huggingface.co/"])
def test_a_repository_that_is_served_leads_to_pull(prefix, tmp_path):
    message = explain_unknown(f"{prefix}Qwen/x", ["smollm2"], Shelf(tmp_path))
    assert message.endswith("pull it first: nacelle pull Qwen/x")


@pytest.mark.parametrize("url", ["https://models.example/m.gguf", "s3://bucket/folder"])
def test_a_url_that_is_served_leads_to_pull(url, tmp_path):
    message = explain_unknown(url, ["smollm2"], Shelf(tmp_path))
    assert message == f"{url} is not on this machine; pull it first: nacelle pull {url}"


def test_an_agreement_of_0_is_not_the_default():
    assert required_agreement(Request(min_agreement=0.0), "text") == 0.0
    assert required_agreement(Request(), "text") == MIN_TEXT
    assert required_agreement(Request(), "embeddings") == MIN_VECTORS


def test_a_log_without_the_name_says_so(tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.write_text("10:00:00 INFO m is ready\n")
    monkeypatch.setattr("frontend.cli.logs._log_of", lambda _: log)
    callback = cast(Any, logs.callback)
    callback("m", False, 10, None, None)
    with pytest.raises(click.ClickException, match="names nosuch"):
        callback("nosuch", False, 10, None, None)
