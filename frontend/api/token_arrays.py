"""Arrays of token ids too long to be decoded at once: cut out of the body, and decoded part by part.

Other requests have their turn between two parts. A thread would not help, as the decoder holds the
interpreter's lock.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import msgspec

from frontend.api.json_size import JsonLimits, JsonSize
from frontend.api.schema.common import TokenId
from frontend.errors import BadRequest

MAX_TOKENS = 1_048_576  # of one input; no model reads more
LONG_BYTES = 256 * 1024
PLACEHOLDER = [-9_123_456_789_012_345_678]  # the id of no token
_PART_BYTES = 128 * 1024  # a few milliseconds of work
_INPUT_BYTES = 256  # how many bytes take as long as beginning another input

_LIMITS = JsonLimits(escapes=None)  # for the rest of the body
_AFTER_VALUE = re.compile(rb"\s*[,}]")  # in an object
_NESTED = re.compile(rb"\[\s*(?=\[)")
_NEXT = re.compile(rb"\s*(?:,\s*(?=\[)|\]\Z)")
_ids = msgspec.json.Decoder(list[TokenId])


def cut_out(data: bytes, size: JsonSize, field: str) -> tuple[bytes, bytes]:
    """A body in which PLACEHOLDER stands for the long array of numbers in `field`, and that array.

    The array is empty if there is none of more than LONG_BYTES without strings and objects. Raises
    RequestTooLarge if the rest of the body, whose `size` this becomes, has more values than any other request
    may have.
    """
    rest, array = data, b""
    for key in re.finditer(rb'"%b"\s*:\s*(?=\[)' % field.encode(), data):
        quote = data.find(b'"', key.end())
        end = data.rfind(b"]", key.end(), quote if quote >= 0 else len(data)) + 1
        if end - key.end() > LONG_BYTES and _is_one_array(data, key.end(), end):
            array = data[key.end() : end]
            rest = data[: key.end()] + msgspec.json.encode(PLACEHOLDER) + data[end:]
            size.separators -= array.count(b",")
            break
    size.check(_LIMITS)
    return rest, array


def _is_one_array(data: bytes, start: int, end: int) -> bool:
    """Whether these bytes, without strings, are a whole value of an object. Otherwise strings are among its
    items, or it belongs to an object whose own end was taken for the array's."""
    is_balanced = data.count(b"[", start, end) == data.count(b"]", start, end)
    has_objects = data.find(b"{", start, end) >= 0 or data.find(b"}", start, end) >= 0
    return is_balanced and not has_objects and _AFTER_VALUE.match(data, end) is not None


async def token_ids_of(array: bytes, field: str) -> AsyncIterator[list[int]]:
    """The token ids of each input in turn: an array that `cut_out` found holds one or several.

    Raises BadRequest.
    """
    done = 0
    for index, (start, end) in enumerate(_spans(array, field)):
        ids: list[int] = []
        while True:
            comma = array.find(b",", start + _PART_BYTES, end)
            stop = comma if comma >= 0 else end
            try:
                part = _ids.decode(b"[%b]" % array[start:stop])
            except (msgspec.DecodeError, RecursionError):
                part = []
            if not part:
                raise BadRequest(f"{field}[{index}] must be token ids, at least one", f"{field}[{index}]")
            ids += part
            if len(ids) > MAX_TOKENS:
                raise BadRequest(f"{field}[{index}]: more than {MAX_TOKENS} token ids", f"{field}[{index}]")
            done += stop - start + _INPUT_BYTES
            if done > _PART_BYTES:
                done = 0
                await asyncio.sleep(0)
            if stop == end:
                break
            start = stop + 1
        yield ids


def _spans(array: bytes, field: str) -> Iterator[tuple[int, int]]:
    """Where the ids of each input begin and end. Raises BadRequest unless all inputs are arrays, or none."""
    nested = _NESTED.match(array)
    if nested is None:
        yield 1, len(array) - 1
        return
    at = nested.end()
    while at < len(array):
        end = array.find(b"]", at)
        following = _NEXT.match(array, end + 1)
        if following is None:
            raise BadRequest(f"{field} must be a string, token ids, or a list of either", field)
        yield at + 1, end
        at = following.end()
