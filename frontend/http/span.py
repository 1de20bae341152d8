"""What the span of a request says, by OpenTelemetry's conventions for HTTP and for generative AI. Pure."""

from collections.abc import Mapping

from frontend.engine_endpoints import ENDPOINTS
from frontend.http.exchange import CLIENT_GONE, OK, Course, Exchange, TokenCounts
from frontend.observability.traces import Described, Moment, Value


def describe(method: str, exchange: Exchange, tokens: TokenCounts | None, course: Course | None) -> Described:
    """Nothing of what the client wrote or received, unless `course` has it because it was asked for."""
    outcome = exchange.outcome
    endpoint = ENDPOINTS.get(exchange.route)
    operation = endpoint.operation if endpoint is not None else None
    attributes: dict[str, Value | None] = {
        "http.request.method": method,
        "http.route": exchange.route,
        "http.response.status_code": exchange.final_status,
        "error.type": None if outcome == OK else outcome,
        "nacelle.request_id": exchange.request_id,
        "nacelle.key_id": exchange.caller.key_id,
    }
    if operation is not None:
        attributes |= {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "nacelle",
            "gen_ai.request.model": exchange.answered_by and exchange.model,  # else any text of a client's
            "gen_ai.request.stream": exchange.stream or None,
            "gen_ai.response.model": exchange.answered_by,
        }
    if tokens is not None:
        attributes |= {
            "gen_ai.usage.input_tokens": tokens.prompt,
            "gen_ai.usage.output_tokens": tokens.completion,
            "gen_ai.usage.cache_read.input_tokens": tokens.cached,
        }
    moments: tuple[Moment, ...] = ()
    if course is not None:
        attributes |= _of_course(course, exchange)
        moments = course.moments
        if course.first_token_at is not None:
            moments = (*moments, Moment("first token", course.first_token_at))
    is_fault = outcome not in (OK, CLIENT_GONE) and (exchange.final_status >= 500 or exchange.status == 200)
    return Described(
        f"{operation} {exchange.answered_by}"
        if operation and exchange.answered_by
        else f"{method} {exchange.route}",
        {name: value for name, value in attributes.items() if value is not None},
        moments,
        outcome if is_fault else None,
    )


def _of_course(course: Course, exchange: Exchange) -> Mapping[str, Value | None]:
    first = course.first_token_at
    return {
        **{f"gen_ai.request.{name}": value for name, value in course.asked.items()},
        "gen_ai.response.finish_reasons": course.finish_reasons or None,
        "gen_ai.response.time_to_first_chunk": None if first is None else first - exchange.began,
        "nacelle.queue_seconds": course.queue_seconds,
        "nacelle.host_deaths": course.deaths or None,
        "gen_ai.input.messages": course.prompts,
        "gen_ai.output.messages": course.answers,
    }
