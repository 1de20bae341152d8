"""Comma-separated elements, as in arrays and objects: some are optional, and their number is bounded."""

import msgspec

from frontend.structured.writer import Writer

FREE = 1_000  # maximum elements of a bounded list, even if the schema allows more
_COMMA = '", "'


class Entry(msgspec.Struct, frozen=True):
    """An element that occurs at most once, at its position."""

    text: str  # EBNF
    required: bool


class Sequences:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def rule(
        self,
        entries: list[Entry],
        free: list[str],
        minimum: int,
        maximum: int | None,
        close: str,
        distinct: bool,
    ) -> str | None:
        """A rule for the entries, then any number of elements from the EBNF texts in `free`, then `close`.

        There are `minimum` to `maximum` elements in total. With `distinct`, elements count once if they are
        equal: several free elements may be, so that only the first one counts towards `minimum`. None if no
        such sequence exists. Raises TooComplex.
        """
        required = sum(entry.required for entry in entries)
        counting = minimum > required or (
            maximum is not None and maximum < len(entries) + (1_000_000 if free else 0)
        )
        counts = range((len(entries) if counting else 1) + 1)
        # What may follow, indexed by the number of elements before it, or by whether there are any.
        following = [
            self._end(
                free,
                max(minimum - count, 0) if counting else 0,
                None if maximum is None else maximum - count,
                close,
                count == 0,
                distinct,
            )
            for count in counts
        ]
        for entry in reversed(entries):
            following = [self._step(entry, following, count, maximum) for count in counts]
        return following[0]

    def _step(self, entry: Entry, following: list[str | None], count: int, maximum: int | None) -> str | None:
        taken = following[min(count + 1, len(following) - 1)]
        options = []
        if taken and (maximum is None or count < maximum):
            options.append(f"{_COMMA} {entry.text} {taken}" if count else f"{entry.text} {taken}")
        skipped = None if entry.required else following[count]
        if skipped and not options:
            return skipped
        if skipped:
            options.append(skipped)
        return self._writer.rule(" | ".join(options), "o") if options else None

    def _end(
        self, free: list[str], minimum: int, maximum: int | None, close: str, first: bool, distinct: bool
    ) -> str | None:
        if maximum is not None and (maximum < 0 or maximum < minimum):
            return None
        if not free or maximum == 0:
            return self._writer.rule(close, "z") if not minimum else None
        if distinct and minimum > 1:
            return None
        element = free[0] if len(free) == 1 else self._writer.rule(" | ".join(free), "f")
        optional = None if maximum is None else min(maximum - minimum, max(FREE - minimum, 0))
        name = self._more(element, close) if optional is None else self._writer.rule(close, "z")
        links = [False] * (optional or 0) + [True] * minimum
        if optional is None and first and not minimum:
            return self._writer.rule(f"{close} | {element} {name}", "l")
        for position, must in enumerate(links):
            comma = "" if first and position == len(links) - 1 else f"{_COMMA} "
            link = f"{comma}{element} {name}"
            name = self._writer.rule(link if must else f"{close} | {link}", "l")
        return name

    def _more(self, element: str, close: str) -> str:
        name = self._writer.reserve("m")
        return self._writer.define(name, f"{close} | {_COMMA} {element} {name}")
