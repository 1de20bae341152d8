"""Log lines for people or for machines, on standard error."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
BRIEF = "brief"  # the name of an extra that replaces level, logger and all fields in a line for people
# A path or a host's output must not start a line of its own or control the terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


def extras(record: logging.LogRecord) -> Mapping[str, Any]:
    """The fields that the caller passed as `extra`."""
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD and key != BRIEF}


class TextFormatter(logging.Formatter):
    """`12:00:00 INFO    nacelle loaded … seconds=1.5`, or `12:00:00 POST /v1/… 200 1.23s smollm2 …`."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        brief = getattr(record, BRIEF, None)
        if brief is not None:
            line = f"{clock} {record.getMessage()} {brief}"
        else:
            fields = "".join(f" {key}={value}" for key, value in extras(record).items())
            line = f"{clock} {record.levelname:<7} {record.name} {record.getMessage()}{fields}"
        line = line.translate(_CONTROLS)
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **extras(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


# Of WebSockets: what libraries report as errors of the server, and the access log as those of clients.
_FAULTS_OF_CLIENTS = {
    "uvicorn.error": (
        "ASGI callable returned without completing handshake.",  # after an answer that refuses it, too
        "Invalid UTF-8 sequence received from client.",
    ),
    "falcon": ("[FALCON] HTTPError",),
}


def is_of_the_server(record: logging.LogRecord) -> bool:
    """Whether a library's record is more than what the access log says of a client's mistake."""
    return not record.getMessage().startswith(_FAULTS_OF_CLIENTS.get(record.name, ()))


def configure(log_format: str, level: str) -> None:
    """Send all log lines of at least `level` to standard error. `log_format` is "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Formatters use neither the caller nor the thread of a record; looking them up takes time.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # the application logs when it listens
    for name in _FAULTS_OF_CLIENTS:
        logging.getLogger(name).addFilter(is_of_the_server)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
