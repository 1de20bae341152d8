"""Reading the input of a batch: JSON Lines, one request each."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import msgspec

from frontend.batches.record import BatchError
from frontend.engine_endpoints import ENDPOINTS
from frontend.shortened import shortened

BATCHED_PATHS = tuple(path for path, endpoint in ENDPOINTS.items() if endpoint.in_batches)
MAX_LINES = 50_000
MAX_INPUT_BYTES = 200 * 1024**2
MAX_CUSTOM_ID_CHARACTERS = 512
_MAX_ERRORS = 100  # reported
_SHOWN_CHARACTERS = 80
_BOM = b"\xef\xbb\xbf"
_FIELDS = ("custom_id", "method", "url", "body")
_MISSING = (b"", b"null", b'""')
_MODEL_CHARACTERS = 500  # of a model that can exist; a longer one is not kept


class Place(NamedTuple):
    """Where a line is."""

    number: int  # from 1
    begin: int  # byte offset
    length: int  # in bytes


class Checked(msgspec.Struct, frozen=True):
    """What was found in an input: its requests, or what is wrong with it."""

    places: list[Place]
    errors: tuple[BatchError, ...]
    model: str | None  # if all requests name the same


class InputLine(msgspec.Struct, frozen=True):
    """Of a line that is valid."""

    custom_id: str
    body: msgspec.Raw


class _Line(msgspec.Struct, frozen=True):
    """Undecoded, since a client may write anything anywhere, also what would take half a minute."""

    custom_id: msgspec.Raw = msgspec.Raw()
    method: msgspec.Raw = msgspec.Raw()
    url: msgspec.Raw = msgspec.Raw()
    body: msgspec.Raw = msgspec.Raw()


class _Named(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw()


_line_decoder = msgspec.json.Decoder(InputLine)
_unchecked_decoder = msgspec.json.Decoder(_Line)
_named_decoder = msgspec.json.Decoder(_Named)


def check(file: BinaryIO, endpoint: str, max_line_bytes: int) -> Checked:
    """Read the whole input, a line at a time."""
    places: list[Place] = []
    errors: list[BatchError] = []
    checker = _Checker(endpoint)
    for place, line in _lines(file, max_line_bytes):
        if len(places) == MAX_LINES:
            message = f"The input has more than {MAX_LINES} requests; split it into several batches."
            errors.append(BatchError("too_many_requests", message, None, place.number))
            break
        places.append(place)
        try:
            if line is None:
                raise _Wrong("line_too_long", f"This line exceeds {max_line_bytes} bytes.")
            checker.check(line)
        except _Wrong as wrong:
            errors.append(BatchError(wrong.code, wrong.message, wrong.param, place.number))
            if len(errors) == _MAX_ERRORS:
                break
    if not places:
        errors.append(BatchError("empty_file", "The input file has no requests; write one to each line."))
    return Checked(places, tuple(errors), checker.model)


def _lines(file: BinaryIO, max_bytes: int) -> Iterator[tuple[Place, bytes | None]]:
    """The lines that are not blank; None in place of a line that is too long."""
    begin = len(_BOM) if file.read(len(_BOM)) == _BOM else 0
    file.seek(begin)
    number = 0
    while line := file.readline(max_bytes + 1):
        number += 1
        length = len(line)
        is_too_long = length > max_bytes
        while is_too_long and not line.endswith(b"\n") and (line := file.readline(max_bytes)):
            length += len(line)
        if is_too_long:
            yield Place(number, begin, length), None
        elif line.strip():
            yield Place(number, begin, length), line
        begin += length


class _Wrong(Exception):
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.param = code, message, param


class _Checker:
    """Checks the lines of one input, whose ids must differ."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._ids: set[str] = set()
        self._models: set[str | None] = set()

    @property
    def model(self) -> str | None:
        """The one that all lines name, if there is one."""
        return next(iter(self._models)) if len(self._models) == 1 else None

    def check(self, line: bytes) -> None:
        """Raises _Wrong."""
        try:
            found = _unchecked_decoder.decode(line)
            custom_id, method, url = map(_text, (found.custom_id, found.method, found.url))
        except (ValueError, RecursionError):  # also for what is not UTF-8
            raise _Wrong("invalid_json_line", "This line is not a valid JSON object.") from None
        for name in _FIELDS:
            if bytes(getattr(found, name)) in _MISSING:
                raise _Wrong("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
        self._check_id(custom_id)
        if method != "POST":
            raise _Wrong("invalid_method", "method must be POST.", "method")
        if url != self._endpoint:
            raise _Wrong("invalid_url", f"url must be the endpoint of the batch, {self._endpoint}.", "url")
        self._note_model(found.body)

    def _check_id(self, custom_id: str | None) -> None:
        if custom_id is None or len(custom_id) > MAX_CUSTOM_ID_CHARACTERS:
            limit = f"a string of at most {MAX_CUSTOM_ID_CHARACTERS} characters"
            raise _Wrong("invalid_custom_id", f"custom_id must be {limit}.", "custom_id")
        if custom_id in self._ids:
            shown = shortened(custom_id, _SHOWN_CHARACTERS)
            message = f"The custom_id '{shown}' occurs more than once."
            raise _Wrong("duplicate_custom_id", message, "custom_id")
        self._ids.add(custom_id)

    def _note_model(self, body: msgspec.Raw) -> None:
        try:
            model = _text(_named_decoder.decode(body).model)
        except (ValueError, RecursionError):
            raise _Wrong("invalid_body", "body must be a JSON object in UTF-8.", "body") from None
        self._models.add(model if model is not None and len(model) <= _MODEL_CHARACTERS else None)


def _text(value: msgspec.Raw) -> str | None:
    """None for anything but a string. Raises ValueError for one that is not UTF-8."""
    return msgspec.json.decode(value, type=str) if bytes(value).startswith(b'"') else None


def read_line(line: bytes) -> InputLine:
    """Parse a line that `check` has found valid."""
    return _line_decoder.decode(line)
