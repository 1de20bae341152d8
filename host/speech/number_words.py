"""English words of numbers: a pure function per way to read one."""

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = (
    " thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion"
).split(" ")
_MAX_DIGITS = 3 * len(_SCALES)
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def cardinal(digits: str) -> str:
    """42 → forty two. What has leading zeros or more digits than there are names is spelled."""
    if len(digits) > _MAX_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return spelled(digits)
    value = int(digits)
    if value == 0:
        return _SMALL[0]
    words: list[str] = []
    for scale in _SCALES:
        value, group = divmod(value, 1000)
        if group:
            words.insert(0, f"{_below_1000(group)} {scale}".rstrip())
    return " ".join(words)


def _below_1000(value: int) -> str:
    hundreds, rest = divmod(value, 100)
    words = [f"{_SMALL[hundreds]} hundred"] if hundreds else []
    if rest:
        words.append(_below_100(rest))
    return " and ".join(words) if len(words) > 1 else words[0]


def _below_100(value: int) -> str:
    if value < len(_SMALL):
        return _SMALL[value]
    tens, units = divmod(value, 10)
    return f"{_TENS[tens]} {_SMALL[units]}" if units else _TENS[tens]


def spelled(digits: str) -> str:
    """007 → zero zero seven."""
    return " ".join(_SMALL[int(digit)] for digit in digits)


def decimal(digits: str) -> str:
    """3.14 → three point one four; .5 → point five; 12 → twelve."""
    whole, point, fraction = digits.partition(".")
    words = [cardinal(whole)] if whole else []
    if point:
        words += ["point", spelled(fraction)]
    return " ".join(words)


def ordinal(digits: str) -> str:
    """22 → twenty second."""
    *before, last = cardinal(digits).split(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = f"{last[:-1]}ieth"
    else:
        last = f"{last}th"
    return " ".join((*before, last))


def year(digits: str) -> str:
    """1984 → nineteen eighty four; 1905 → nineteen oh five; 2000 → two thousand. Four digits."""
    century, rest = int(digits[:2]), int(digits[2:])
    if century % 10 == 0 and rest < 10:
        return cardinal(digits).replace(" and ", " ")
    if rest == 0:
        return f"{_below_100(century)} hundred"
    return f"{_below_100(century)} {'oh ' if rest < 10 else ''}{_below_100(rest)}"


def plural(words: str) -> str:
    """nineteen eighty → nineteen eighties; one half → one halves is not needed: of numbers only."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"
