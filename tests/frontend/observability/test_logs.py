"""One record, one line."""

import logging

import pytest

from frontend.observability.logs import JsonFormatter, TextFormatter


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
