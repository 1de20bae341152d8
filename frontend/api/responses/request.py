"""What a Responses request asks for: its checks, the turn it becomes, and the response it begins. Pure."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from frontend.api.body import converted
from frontend.api.prompting import TurnSpec
from frontend.api.responses.foreign import tool_lists
from frontend.api.responses.items import ItemImages, messages_of
from frontend.api.responses.tools import OfferedTool, offered_tools, tool_use_of, with_own_names
from frontend.api.schema.common import check_stream_options, refuse_unsupported, variant_key
from frontend.api.schema.formats import json_format
from frontend.api.schema.response_items import Item
from frontend.api.schema.responses import (
    ELSEWHERE,
    INCLUDABLE,
    UNSUPPORTED,
    ReasoningBody,
    ResponseBody,
    ResponsesRequest,
    TextAnswer,
    TextFormat,
    TextFormatAnswer,
    ToolBody,
)
from frontend.errors import BadRequest
from ipc.messages import Sampling

FITS_THE_CONTEXT = -1  # what `truncation: auto` makes of truncate_prompt_tokens
_PARAMS = {"messages": "input", "prompt": "input", "max_tokens": "max_output_tokens"}


def check(body: ResponsesRequest) -> None:
    """Raises BadRequest for what cannot be honoured."""
    refuse_unsupported(body, UNSUPPORTED)
    check_stream_options(body)
    for name, instead in ELSEWHERE.items():
        if getattr(body, name) is not None:
            raise BadRequest(f"{name}: here this is {instead}", name)
    for index, what in enumerate(body.include or []):
        if what not in INCLUDABLE:
            raise BadRequest(f"include[{index}]: {what!r} is not supported", f"include[{index}]")
    if body.background and body.store is False:
        raise BadRequest("background: a background response must be stored", "background")


def turn_of(body: ResponsesRequest, items: Sequence[Item]) -> tuple[TurnSpec, list[OfferedTool]]:
    """The turn that answers `items`, and the tools that it may call. Raises BadRequest."""
    images = ItemImages(body.input)
    offered = offered_to(body, items)
    messages = messages_of(items, body.instructions, images, offered)
    if not messages:
        raise BadRequest("input: there is nothing to answer", "input")
    spec = TurnSpec(
        model=body.model,
        variant_key=variant_key(body.user, body.safety_identifier, body.prompt_cache_key),
        messages=messages,
        samplings=[_sampling(body)],
        tool_use=tool_use_of(offered, body.tool_choice, body.parallel_tool_calls),
        output_format=_output_format(body.text.format if body.text is not None else None),
        reasoning_effort=body.reasoning.effort if body.reasoning is not None else None,
        images=images.given.found,
        streaming=bool(body.stream),
    )
    return spec, offered


def _sampling(body: ResponsesRequest) -> Sampling:
    sampling = body.sampling(body.max_output_tokens, 0, logprobs=False)
    if body.truncation == "auto" and sampling.truncate_prompt is None:
        return msgspec.structs.replace(sampling, truncate_prompt=FITS_THE_CONTEXT)
    return sampling


def offered_to(body: ResponsesRequest, items: Sequence[Item]) -> list[OfferedTool]:
    """The tools that the model may call: those that items make available, and the request's, which replace
    them. Raises BadRequest."""
    given = body.input if isinstance(body.input, list) else []
    places = {id(raw): f"input[{index}].tools" for index, raw in enumerate(given)}
    own = offered_tools(body.tools or [])
    listed: list[OfferedTool] = []
    for item in tool_lists(items):
        where = places.get(id(item.body), "input")  # which an earlier request has, perhaps
        listed += offered_tools(converted(item.body["tools"], list[ToolBody], where), where)
    return with_own_names([*own, *listed, *own])


def param_names(spec: TurnSpec) -> dict[str, str]:
    """What hosts call the parameters → what they are called here."""
    if spec.samplings[0].truncate_prompt == FITS_THE_CONTEXT:
        return _PARAMS | {"truncate_prompt_tokens": "truncation"}
    return _PARAMS


def _output_format(form: TextFormat | None) -> dict[str, Any] | None:
    if form is None:
        return None
    return json_format(form.type, form.schema, "text.format.type", "text.format.schema")


def response_of(body: ResponsesRequest, new_id: Callable[[str], str], now: float) -> ResponseBody:
    """The response as it begins, before any output. `now` is in Unix seconds."""
    form = body.text.format if body.text is not None else None
    return ResponseBody(
        id=new_id("resp"),
        created_at=int(now),
        status="queued" if body.background else "in_progress",
        background=bool(body.background),
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        model=body.model,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        previous_response_id=body.previous_response_id,
        prompt_cache_key=body.prompt_cache_key,
        reasoning=body.reasoning or ReasoningBody(),
        safety_identifier=body.safety_identifier,
        store=body.store is not False,
        temperature=body.temperature,
        text=TextAnswer(
            TextFormatAnswer(type="text")
            if form is None
            else TextFormatAnswer(**{name: getattr(form, name) for name in form.__struct_fields__})
        ),
        tool_choice=body.tool_choice or "auto",
        tools=[tool.shown for tool in body.tools or []],
        top_p=body.top_p,
        truncation=body.truncation or "disabled",
        user=body.user,
        metadata=body.metadata or {},
    )
