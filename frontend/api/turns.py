"""An assistant's turn in a conversation: what chat completions and responses have in common.

From messages, tools and an output format to a generation, and from its text to events.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import falcon.asgi
import msgspec

from frontend.api.abilities import text_card
from frontend.api.content_stops import content_stops
from frontend.api.content_tokens import ContentTokens
from frontend.api.generating import off_loop, start
from frontend.api.images import check_taken, naming_images
from frontend.api.prompting import AnswerPlan, Plan, TurnSpec, encoded, plan_turn
from frontend.api.schema.common import MANY_MESSAGES
from frontend.api.served import model_of
from frontend.parsing import Dialect, detect, parser_for
from frontend.parsing.events import CallBegun, Content, Event, Parser, Reasoning
from frontend.routing.router import Model, Router
from frontend.tasks.generation import Generation, Timing, Usage
from frontend.tasks.text import Output, SequenceSpec
from ipc.messages import Prompt, Sampling, TextPrompt


class Tokens(msgspec.Struct, frozen=True, gc=False):
    """What was asked for of tokens whose text follows, or lags: ids of all, log probabilities of content."""

    ids: list[int]
    logprobs: list[float]
    token_bytes: list[bytes]  # with the log probabilities

    @property
    def are_there(self) -> bool:
        return bool(self.ids or self.logprobs)


class Finished(msgspec.Struct, frozen=True):
    reason: Literal["stop", "length", "tool_calls"]
    stop: str | int | None = None  # the stop string or the client's stop token that ended it


class StartedOver(msgspec.Struct, frozen=True):
    """All events of the choice so far are void. Never where the client streams."""


TurnEvent = Event | Tokens | Finished | StartedOver


class TurnUsage(Usage, frozen=True):
    reasoning_tokens: int = 0


class AnyTurn(Protocol):
    """What answers are made of."""

    prompt_token_ids: list[int]

    @property
    def choices(self) -> int: ...

    @property
    def usage(self) -> TurnUsage: ...

    def call_id(self, choice: int, call: int) -> str:
        """The id of a tool call, of the form that the model's chat template takes back."""

    async def events(self) -> list[tuple[int, TurnEvent]]:
        """(choice, event) pairs since the last call, at least one; empty at the end.

        Raises ServerError or ClientGone.
        """

    def take(self) -> list[tuple[int, TurnEvent]]:
        """As `events`, of what has already arrived: empty while there is nothing."""

    @property
    def finished(self) -> bool:
        """Whether all events have been taken."""

    def listen(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when there may be something to take, or the turn has failed; None: nobody."""

    async def finish(self) -> None:
        """What must happen after the last event and before the end is announced. Raises ServerError."""

    def close(self) -> None:
        """Whatever still runs is cancelled."""


class Turn:
    """Read `events` to the end, then `usage`; `close` it whatever happens."""

    def __init__(
        self, generation: Generation, plan: AnswerPlan, asked: list[Sampling], reports_tokens: bool
    ) -> None:
        """`asked`: by choice, as the client did."""
        self._generation = generation
        self._choices = [
            _Choice(plan, sequence.journal.prompt_tail, sampling, reports_tokens)
            for sequence, sampling in zip(generation.sequences, asked, strict=True)
        ]
        self.prompt_token_ids = generation.sequences[0].journal.prompt_token_ids
        self._plan = plan
        self._call_ids: dict[tuple[int, int], str] = {}

    def close(self) -> None:
        self._generation.close()

    @property
    def choices(self) -> int:
        return len(self._choices)

    def call_id(self, choice: int, call: int) -> str:
        return self._call_ids.setdefault((choice, call), self._plan.new_call_id())

    async def events(self) -> list[tuple[int, TurnEvent]]:
        while outputs := await self._generation.outputs():
            if events := self._read(outputs):
                return events
        return []

    def take(self) -> list[tuple[int, TurnEvent]]:
        while outputs := self._generation.take():  # outputs without events must not hide an error
            if events := self._read(outputs):
                return events
        return []

    @property
    def finished(self) -> bool:
        return self._generation.finished

    def listen(self, callback: Callable[[], None] | None) -> None:
        self._generation.listen(callback)

    async def finish(self) -> None:
        """Nothing is left to do."""

    def _read(self, outputs: list[Output]) -> list[tuple[int, TurnEvent]]:
        found: list[tuple[int, TurnEvent]] = []
        for output in outputs:
            number, choice = output.choice, self._choices[output.choice]
            if choice.is_over:
                continue
            found += [(number, event) for event in choice.read(output)]
            if choice.is_over and output.finish_reason is None:
                self._generation.end(number, choice.tokens)
        return found

    @property
    def timing(self) -> Timing:
        return self._generation.timing

    @property
    def usage(self) -> TurnUsage:
        usage = self._generation.usage
        reasoning = sum(choice.reasoning_tokens for choice in self._choices)
        return TurnUsage(usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, reasoning)


class _Choice:
    """One choice's parser, and what it needs to know of what came before."""

    def __init__(self, plan: AnswerPlan, prompt_tail: str, asked: Sampling, reports_tokens: bool) -> None:
        self._plan = plan
        self._prompt_tail = prompt_tail
        self._asked = asked
        self._reports_tokens = reports_tokens
        self._begin()

    def _begin(self) -> None:
        self._parser: Parser | None = parser_for(
            self._plan.dialect,
            tools=self._plan.tools,
            prompt_tail=self._prompt_tail,
            eager=self._plan.calls_are_certain,
            bound=self._plan.calls_are_bound,
            whole=self._plan.is_bound,
        )
        self._stops = content_stops(self._asked) if self._plan.is_parsed else None
        self._content_tokens: ContentTokens | None = None
        if self._asked.logprobs:
            self._content_tokens = ContentTokens(self._parser.trace_content() if self._parser else None)
        self._called = False
        self._reasons = False  # the last that came was reasoning
        self.reasoning_tokens = 0
        self.tokens = 0
        self.is_over = False  # what may still come is not part of the answer

    def read(self, output: Output) -> list[TurnEvent]:
        if output.starts_over:
            self._begin()
            return [StartedOver()]
        events: list[TurnEvent] = []
        self.tokens += len(output.token_ids)
        if self._reports_tokens and output.token_ids:
            events.append(Tokens(output.token_ids, [], []))
        told = len(events)
        if self._parser is None:
            if output.text:
                events.append(Content(output.text))
        else:
            events += self._parsed(self._parser, output)
        reason, stop = output.finish_reason, output.stop
        if self._stops is not None and self._stops.matched is not None:
            reason, stop = "stop", self._stops.matched
        self.is_over = reason is not None
        if self._content_tokens is not None:
            events[told:told] = self._scored(self._content_tokens, output, events[told:])
        if reason is not None:
            called = self._called and reason == "stop"
            events.append(Finished("tool_calls" if called else reason, stop))
        return events

    def _scored(self, tokens: ContentTokens, output: Output, events: list[TurnEvent]) -> list[TurnEvent]:
        tokens.add(output.logprobs, output.token_bytes)
        shown = sum(len(event.text) for event in events if isinstance(event, Content))
        scored = tokens.take(shown, ended=self.is_over)
        if not scored:
            return []
        return [Tokens([], [logprob for logprob, _ in scored], [data for _, data in scored])]

    def _parsed(self, parser: Parser, output: Output) -> list[Event]:
        events = parser.feed(output.text) if output.text else []
        if output.finish_reason is not None:
            events += parser.finish()
        if self._stops is not None:
            events = self._stops.cut(events, self.tokens, ended=output.finish_reason is not None)
        if events:
            self._reasons = isinstance(events[-1], Reasoning)
            self._called = self._called or any(isinstance(event, CallBegun) for event in events)
        if self._reasons:
            self.reasoning_tokens += len(output.token_ids)
        return events


async def begin_turn(model: Model, spec: TurnSpec, request: falcon.asgi.Request | None) -> Turn:
    """A turn that every engine has accepted. It ends when the client of `request` leaves; None: nobody waits.

    Raises ServerError.
    """
    check_taken(model, spec)
    plan = await plan_of(model, spec)
    return await _begun(model, spec, plan, plan.prompt, request)


async def begin_raw_turn(
    model: Model, spec: TurnSpec, text: str, request: falcon.asgi.Request | None
) -> Turn:
    """The same from a text that is the prompt as it is, not from messages. Its answer is not parsed."""
    text_card(model)
    grammar = "" if spec.output_format is None else encoded(spec.output_format)
    plan = AnswerPlan(dialect=Dialect(None, None), tools=None, calls_are_certain=False, grammar=grammar)
    return await _begun(model, spec, plan, TextPrompt(text), request)


async def _begun(
    model: Model, spec: TurnSpec, plan: AnswerPlan, prompt: Prompt, request: falcon.asgi.Request | None
) -> Turn:
    specs = [
        SequenceSpec(prompt, plan.sampling(sampling), report_ids=spec.report_ids)
        for sampling in spec.samplings
    ]
    with naming_images(spec):
        generation = await start(request, model, specs, spec.streaming)
    reports_tokens = spec.report_ids or any(sampling.logprobs for sampling in spec.samplings)
    return Turn(generation, plan, spec.samplings, reports_tokens)


async def begin_turn_of(router: Router, spec: TurnSpec, request: falcon.asgi.Request | None) -> Turn:
    """The same by the model's name."""
    model = await model_of(router, spec.model, request, spec.variant_key)
    return await begin_turn(model, spec, request)


async def plan_of(model: Model, spec: TurnSpec) -> Plan:
    """By the model's settings and its chat template. Raises ServerError."""
    settings = model.settings
    with_tools = spec.tool_use is not None and spec.tool_use.choice != "none"
    template = text_card(model).template_for(with_tools)
    dialect = detect(template, settings.tool_format, settings.reasoning_format)
    may_take_long = spec.tool_use is not None or len(spec.messages) > MANY_MESSAGES
    return await off_loop(may_take_long, plan_turn, spec, dialect)
