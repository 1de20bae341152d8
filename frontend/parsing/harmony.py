"""gpt-oss: messages in channels for reasoning, answers and calls. Calls are addressed to functions."""

import re
from collections.abc import Mapping

import msgspec

from frontend.parsing.calls import Call, read_json_arguments
from frontend.parsing.grammar import (
    ANY_TEXT,
    constant,
    either,
    sequence,
    tag,
    triggered,
)
from frontend.parsing.marks import Marks
from frontend.parsing.scanner import Malformed, Program, Reading, Scanner
from frontend.parsing.tool_formats import ParserOptions, ToolFormat
from frontend.structured import Format

_START, _CHANNEL, _MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
_CONSTRAIN, _TO = "<|constrain|>", "to="
_PARTS = (_CHANNEL, _TO, _CONSTRAIN, _MESSAGE)
_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_MARKS = Marks(*_ENDS, _START, _CHANNEL)  # the beginning of the next message ends one, too
_END_MARKS = Marks(*_ENDS)
_ASSISTANT = "assistant"
_FUNCTIONS = "functions."
_NOT_FUNCTIONS = ("", _FUNCTIONS, "user", "assistant", "all")
_WORD = re.compile(r"[\w.:/-]*", re.ASCII)
_OPEN_MESSAGE = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>(?:(?!<\|\w+\|>).)*\Z", re.DOTALL)

_BEGINS = (f"{_CHANNEL}commentary to=", f"{_START}{_ASSISTANT} to=")  # of calls, for the grammar
_TRIGGERS = tuple(f"{begin}{_FUNCTIONS}" for begin in _BEGINS)


class _Header(msgspec.Struct, frozen=True):
    channel: str = ""
    recipient: str = ""


class Harmony(ToolFormat):
    name = "harmony"
    needs_special_tokens = True

    def program(self, options: ParserOptions) -> Program:
        return read_messages("", calls=True, reasons=False, eager=options.eager, bound=options.bound)

    def grammar(
        self,
        calls: Mapping[str, Format],
        *,
        at_least_one: bool,
        parallel: bool,  # noqa: ARG002 - models of this family end their turn after one call
    ) -> Format:
        if not at_least_one:
            tags = [tagged for begin in _BEGINS for tagged in _call_tags(calls, begin)]
            return triggered(_TRIGGERS, tags, once=True)
        call = either(*_call_tags(calls, f"{_CHANNEL}commentary to="))
        return either(call, sequence(*_THOUGHT, call))


_THOUGHT = (tag(f"{_CHANNEL}analysis{_MESSAGE}", ANY_TEXT, "<|end|>"), constant(f"{_START}{_ASSISTANT}"))


def _call_tags(calls: Mapping[str, Format], begin: str) -> list[Format]:
    typed = f" {_CONSTRAIN}json{_MESSAGE}"
    if begin.startswith(_START):
        typed = f"{_CHANNEL}commentary{typed}"
    return [
        tag(f"{begin}{_FUNCTIONS}{name}{typed}", arguments, "<|call|>") for name, arguments in calls.items()
    ]


def read_messages(
    prompt_tail: str, *, calls: bool, reasons: bool, eager: bool, bound: bool = False
) -> Program:
    """Reads a whole answer. Without `calls`, calls become content; without `reasons`, reasoning does.

    `bound` calls are those that the grammar watches for.
    """

    def read(scanner: Scanner) -> Reading[None]:
        mark: str | None = ""
        header = _open_header(prompt_tail)
        scanner.hold()
        while mark is not None:
            header = header or (yield from _read_header(scanner, mark, eager))
            sink, mark = scanner.content, None
            if header is None:
                scanner.give_back()
            elif header.recipient in _NOT_FUNCTIONS:
                scanner.release()
                scanner.part()
                sink = scanner.reasoning if reasons and header.channel == "analysis" else sink
            elif not calls or (bound and not any(trigger in scanner.held for trigger in _TRIGGERS)):
                scanner.give_back()
            else:
                mark = yield from _read_call(scanner, header.recipient, eager)
            mark = mark or (yield from scanner.until(_MARKS, sink))
            header = None
            if mark in _ENDS:
                mark = ""
                scanner.release()
                yield from scanner.newlines()
                scanner.hold()

    return read


def answer_format(output_format: Format) -> Format:
    """An answer with this format in the final channel, optionally preceded by reasoning."""
    final = sequence(constant(f"{_CHANNEL}final{_MESSAGE}"), output_format)
    return either(final, sequence(*_THOUGHT, final))


def _open_header(prompt_tail: str) -> _Header | None:
    """The header of a message that the prompt has begun; None if there is none."""
    found = _OPEN_MESSAGE.search(prompt_tail)
    return None if found is None else _Header(found[1])


def _read_header(scanner: Scanner, mark: str, eager: bool) -> Reading[_Header | None]:
    """Read a header, starting after `mark`. None, with all text still held, if it is not a header.

    The prompt ends within the first header. A header that the end of the answer cuts off is dropped.
    """
    words: dict[str, str] = {}
    try:
        if not mark:
            yield from scanner.space()
            mark = yield from scanner.expect(_START, *_PARTS)
        if mark == _START:
            yield from scanner.expect(_ASSISTANT)
            yield from scanner.space()
            mark = yield from scanner.expect(*_PARTS)
        while mark != _MESSAGE:
            word = yield from scanner.word(_WORD)
            if not word or mark in words:
                raise Malformed
            words[mark] = word
            yield from scanner.space()
            mark = (yield from scanner.literal(*_PARTS)) or _CONSTRAIN  # a content type without its mark
    except Malformed:
        if scanner.ended and (eager or not (yield from scanner.peek())):
            scanner.drop_rest()
        return None
    return _Header(words.get(_CHANNEL, ""), words.get(_TO, ""))


def _read_call(scanner: Scanner, recipient: str, eager: bool) -> Reading[str | None]:
    """Read a call and the mark after it, which is returned. Anything else is given back, for None."""
    call = Call(scanner, eager)
    try:
        call.named(recipient.removeprefix(_FUNCTIONS))
        yield from scanner.space()
        # A grammar writes arguments: without them the call is cut off. Otherwise it is one that has none.
        if not (yield from scanner.at_mark(_END_MARKS)) and (eager or (yield from scanner.peek())):
            yield from read_json_arguments(scanner, call)
            yield from scanner.space()
        yield from scanner.close(*_ENDS)
        call.complete()
    except Malformed:
        if eager and scanner.ended:  # a call that is cut off
            scanner.drop_rest()
        else:
            scanner.give_back()
        return None
    return _ENDS[0]
