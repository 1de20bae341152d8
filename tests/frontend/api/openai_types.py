"""The OpenAI client's own types, as judges of what we send."""

from typing import Any

import openai
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
_KNOWN_EXTRA = {"store"}  # the API has it, the client's types lack it


def checked_event(data: bytes | str) -> Any:
    """One event's JSON as the client's type of just that event, with no field that it does not know."""
    event = _EVENT.validate_json(data)
    assert type(event).model_fields["type"].annotation.__args__ == (event.type,)
    _check_extra(event)
    return event


def checked_response(data: bytes | str) -> Any:
    response = Response.model_validate_json(data)
    _check_extra(response)
    return response


def accumulated(events: list[Any]) -> Any:
    """What the client's accumulator makes of a stream; None unless completed. Raises where it stumbles."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=[], text_format=openai.omit)
    for event in events:
        state.handle_event(event)
    return state._completed_response


def _check_extra(value: Any) -> None:
    if isinstance(value, BaseModel):
        assert set(value.model_extra or {}) <= _KNOWN_EXTRA, (type(value), value.model_extra)
        for name in type(value).model_fields:
            _check_extra(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            _check_extra(item)
