"""One record, one line."""

import logging

import pytest

from frontend.observability.logs import JsonFormatter, TextFormatter, is_of_the_server


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_nothing_that_a_client_sends_begins_a_line_or_commands_the_terminal(formatter):
    path = "/v1/models/\nERROR forged \x1b[31m\x9b31m\r"
    record = logging.makeLogRecord(
        {"name": "n", "levelname": "INFO", "msg": "%s", "args": (path,), "id": path}
    )
    line = formatter.format(record)
    assert "ERROR forged" in line
    assert not any(ord(character) < 32 for character in line)
    assert "\x9b" not in line or isinstance(formatter, JsonFormatter)


@pytest.mark.parametrize(
    ("logger", "message", "is_shown"),
    [
        ("uvicorn.error", "ASGI callable returned without completing handshake.", False),
        ("uvicorn.error", "Invalid UTF-8 sequence received from client.", False),
        ("uvicorn.error", "Exception in ASGI application\n", True),
        ("falcon", "[FALCON] HTTPError <HTTPError: 404> raised while handling WebSocket. Closing", False),
        ("falcon", "[FALCON] Unhandled exception in ASGI app", True),
        ("nacelle", "Invalid UTF-8 sequence received from client.", True),
    ],
)
def test_a_refused_websocket_is_no_error_of_the_server(logger, message, is_shown):
    record = logging.makeLogRecord({"name": logger, "levelname": "ERROR", "msg": message})
    assert is_of_the_server(record) is is_shown
