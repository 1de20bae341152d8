"""Patterns of the decimal digits of JSON numbers within bounds."""

from decimal import Decimal
from functools import cache
from math import ceil, floor

from frontend.structured import charset as cs
from frontend.structured.automaton import Automaton, Budget, of_tree, reduced
from frontend.structured.charset import Charset
from frontend.structured.pattern import EMPTY, Alternation, CharClass, Concat, Repeat, Tree, literal

# Without a limit, a model could write digits forever. 18 digits fit into 64 bits.
INTEGER_DIGITS = 18
# Maximum digits before and after the decimal point of unbounded numbers. Their exponents overflow no float.
WHOLE_DIGITS = 15
FRACTION_DIGITS = 15
# Maximum digits of bounded numbers. A float would lose further ones, and exclusive bounds with them.
SIGNIFICANT_DIGITS = 15
BOUNDED_FRACTION_DIGITS = 6
LARGEST_MULTIPLE = 100  # the automaton has a state per remainder

_DIGIT = CharClass(cs.DIGITS)
_NONZERO = CharClass(cs.span("1", "9"))


def integer(low: int | None, high: int | None) -> Tree | None:
    """Integers from `low` to `high`, both included; None if there are none.

    A missing bound is the largest or smallest integer of 18 digits, or nearly 10**18 beyond the other bound
    if that one has more digits.
    """
    widest = 10**INTEGER_DIGITS - 1
    if low is None:
        low = -widest if high is None or high >= -widest else high - widest
    if high is None:
        high = widest if low <= widest else low + widest
    if low > high:
        return None
    options: list[Tree] = []
    if low < 0:
        options.append(Concat((literal("-"), _natural(max(1, -high), -low))))
    if high >= 0:
        options.append(_natural(max(0, low), high))
    return Alternation(tuple(options))


def any_number() -> Tree:
    whole = Alternation((literal("0"), Concat((_NONZERO, Repeat(_DIGIT, 0, WHOLE_DIGITS - 1)))))
    fraction = Concat((literal("."), Repeat(_DIGIT, 1, FRACTION_DIGITS)))
    exponent = Concat((CharClass(cs.of("eE")), Repeat(CharClass(cs.of("+-")), 0, 1), Repeat(_DIGIT, 1, 2)))
    return Concat((Repeat(literal("-"), 0, 1), whole, Repeat(fraction, 0, 1), Repeat(exponent, 0, 1)))


def number(low: Decimal | None, high: Decimal | None, above: bool, below: bool) -> Tree | None:
    """Decimals from `low` to `high` without exponents; None if none has few enough digits.

    `above` and `below` exclude `low` and `high`. A missing bound becomes 10**15 or more in magnitude.
    """
    if low is None and high is None:
        return any_number()
    furthest = Decimal(10**WHOLE_DIGITS)
    minimum = -max(furthest, abs(high or furthest) * 2) if low is None else low
    maximum = max(furthest, abs(low or furthest) * 2) if high is None else high
    digits = _fraction_digits(low, high)
    unit = 10**digits
    first, last = ceil(minimum * unit), floor(maximum * unit)
    first += above and first == minimum * unit
    last -= below and last == maximum * unit
    if first > last:
        return None
    options: list[Tree] = []
    if first < 0:
        options.append(Concat((literal("-"), _decimal(max(1, -last), -first, digits))))
    if last >= 0:
        options.append(_decimal(max(0, first), last, digits))
    return Alternation(tuple(options))


def multiples(of: int, digits: int = 0) -> Automaton:
    """Decimals with at most `digits` fraction digits that are multiples of `of` / 10**`digits`."""
    edges: list[list[tuple[Charset, int]]] = []
    accepting: list[bool] = []
    for place in range(digits + 2 if digits else 1):  # before the point, after it, after each digit
        following = 2 + of * (place and place + 1)
        for rest in range(of):
            found = [(cs.of(str(digit)), following + (rest * 10 + digit) % of) for digit in range(10)]
            edges.append(found if place <= digits else [])
            accepting.append(place != 1 and rest * 10 ** (digits - max(place - 1, 0)) % of == 0)
    signed = edges[0]
    start = [(cs.of("-"), 1), *signed]
    if digits:
        for rest in range(of):
            edges[rest] = [*edges[rest], (cs.of("."), 2 + of + rest)]
    return reduced(Automaton([start, signed, *edges], [False, False, *accepting]))


@cache
def unbounded(whole: bool) -> Automaton:
    """Matches unbounded integers or numbers, which most schemas contain."""
    return of_tree((whole and integer(None, None)) or any_number(), Budget())


def _fraction_digits(low: Decimal | None, high: Decimal | None) -> int:
    bounds = [bound for bound in (low, high) if bound is not None]
    written = max(max(-int(bound.as_tuple().exponent), 0) for bound in bounds)
    whole = max(len(str(abs(int(bound)))) for bound in bounds)
    return max(0, min(max(written, BOUNDED_FRACTION_DIGITS), SIGNIFICANT_DIGITS - whole))


def _decimal(low: int, high: int, digits: int) -> Tree:
    """Decimals from `low` to `high`, which are in units of 10**-`digits`."""
    unit = 10**digits
    (first, from_part), (last, to_part) = divmod(low, unit), divmod(high, unit)
    start, end = str(from_part).zfill(digits), str(to_part).zfill(digits)
    if not digits:
        return _natural(first, last)
    if first == last:
        return Concat((literal(str(first)), _fraction(start, end)))
    options: list[Tree] = [
        Concat((literal(str(first)), _fraction(start, "9" * digits))),
        Concat((literal(str(last)), _fraction("0" * digits, end))),
    ]
    if first + 1 < last:
        options.append(Concat((_natural(first + 1, last - 1), _fraction("0" * digits, "9" * digits))))
    return Alternation(tuple(options))


def _fraction(low: str, high: str) -> Tree:
    """A decimal point and digits from `low` to `high`; trailing zeros and a trailing point may be omitted."""
    options: list[Tree] = [Concat((literal("."), _digits(low, high)))]
    options += [
        Concat((literal("."), _digits(low[:kept], high[:kept], upwards=low[kept:].strip("0") != "")))
        for kept in range(1, len(low))
        if not (low[kept:].strip("0") and low[:kept] == high[:kept])
    ]
    if not low.strip("0"):
        options.append(EMPTY)
    return Alternation(tuple(options))


def _natural(low: int, high: int) -> Tree:
    options: list[Tree] = []
    for length in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (length - 1) if length > 1 else 0)
        last = min(high, 10**length - 1)
        options.append(_digits(str(first), str(last)))
    return Alternation(tuple(options))


def _digits(low: str, high: str, upwards: bool = False) -> Tree:
    """Digit strings from `low` to `high`, which have the same length; `upwards` excludes `low`."""
    if upwards:
        above = str(int(low) + 1).zfill(len(low))
        return _digits(above, high) if len(above) == len(low) and above <= high else Alternation(())
    if low == high:
        return literal(low)
    rest = len(low) - 1
    if low == "0" * len(low) and high == "9" * len(high):
        return Repeat(_DIGIT, rest + 1, rest + 1)
    if low[0] == high[0]:
        return Concat((literal(low[0]), _digits(low[1:], high[1:])))
    options: list[Tree] = [
        Concat((literal(low[0]), _digits(low[1:], "9" * rest))) if rest else literal(low[0]),
        Concat((literal(high[0]), _digits("0" * rest, high[1:]))) if rest else literal(high[0]),
    ]
    if ord(high[0]) - ord(low[0]) > 1:
        between = CharClass(cs.charset([(ord(low[0]) + 1, ord(high[0]) - 1)]))
        options.append(Concat((between, Repeat(_DIGIT, rest, rest))))
    return Alternation(tuple(options))
