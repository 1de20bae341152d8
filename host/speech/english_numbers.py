"""Numbers in English with what surrounds them: currencies, units, ordinals, ranges, fractions."""

import re
from collections.abc import Iterable

from host.speech.english_units import CODES, CURRENCIES, SCALES, SUFFIXES, UNITS
from host.speech.number_words import cardinal, decimal, ordinal, plural, spelled, year


def _any(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_N = r"(?:\d{1,3}(?:,\d{3})++(?!\d)|\d++)(?:\.\d++)?"  # 1,234.5
_SCALE = rf"(?:\s?({_any(SCALES)})\b)?"

_PHONE = re.compile(r"(?<![\w-])(?:(?:\+?\d{1,3}[ -])?(?:\(\d{3}\) ?|\d{3}[ -]))?\d{3}-\d{4}(?![\w-])")
_PRICE = re.compile(rf"(-)?({_any(CURRENCIES)})\s?({_N}){_SCALE}")
_PRICE_AFTER = re.compile(rf"(?<![\w.,])(-)?({_N}){_SCALE}\s?({_any(CURRENCIES)}|(?:{_any(CODES)})\b)")
_DOTTED = re.compile(r"(?<![\w.,])[vV]?(\d{1,9}(?:\.\d{1,9}){2,7})(?!\w|\.\d)")
_DECADE = re.compile(r"(?<![\w.])'?(\d0|\d{3}0)'?s\b")
_ORDINAL = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})++|\d{1,15}+)(?:st|nd|rd|th)\b", re.IGNORECASE)
_FRACTION = re.compile(r"(?<![\w./,])(?:(\d{1,6}) )?(\d{1,2})/(\d{1,3})(?![\w/]|[.,]\d)")
_RANGE = re.compile(rf"(?<![\w.,-])({_N})(\s?)([–-])\s?({_N})(?![-\d])")
_BY = re.compile(r"(?<=\d)(?:[x×]|\sx\s)(?=\d)")
_SUFFIXED = re.compile(rf"(?<![\w.])({_N})({_any(SUFFIXES)})(?!\w)")
_MEASURE = re.compile(rf"(?<![\w.])({_N})(\s?|-)({_any(UNITS)})(?![\w/'])(?:(?<=[a-z])\.(?=\s[a-z]))?")
_NEGATIVE = re.compile(r"(?<![\w.,)\]-])-(?=\.?\d)")
_HASH = re.compile(r"(?:#|No)\s?(?=\d)")
_ABOUT = re.compile(r"~\s?(?=\d)")
_PER = re.compile(
    r"(?<=[a-z])/(?=(?:second|minute|hour|day|night|week|month|year|person|user|token|request|unit)\b)"
)
_GLUED = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_NUMBER = re.compile(rf"{_N}|\.\d++")

_PARTS = {2: ("half", "halves"), 4: ("quarter", "quarters")}


def speak_numbers(line: str) -> str:
    """A line without digits."""
    line = _PHONE.sub(lambda found: _phone(found[0]), line)
    line = _PRICE.sub(lambda found: _price(found[1], found[2], found[3], found[4]), line)
    line = _PRICE_AFTER.sub(
        lambda found: _price(found[1], CODES.get(found[4], found[4]), found[2], found[3]), line
    )
    line = _DOTTED.sub(lambda found: " point ".join(map(cardinal, found[1].split("."))), line)
    line = _DECADE.sub(lambda found: plural(_number(found[1])), line)
    line = _ORDINAL.sub(lambda found: ordinal(_plain(found[1])), line)
    line = _FRACTION.sub(_fraction, line)
    line = _RANGE.sub(_range, line)
    line = _BY.sub(" by ", line)
    line = _NEGATIVE.sub("minus ", line)
    line = _ABOUT.sub("about ", _HASH.sub("number ", line))
    line = _SUFFIXED.sub(_suffixed, line)
    line = _MEASURE.sub(_measure, line)
    line = _GLUED.sub(" ", _PER.sub(" per ", line))
    return _NUMBER.sub(lambda found: _number(found[0]), line)


def _plain(number: str) -> str:
    return number.replace(",", "")


def _number(shown: str) -> str:
    """A number that stands alone; four digits are read as a year where that is usual."""
    if len(shown) == 4 and shown.isdigit() and ("1100" <= shown <= "1999" or "2010" <= shown <= "2099"):
        return year(shown)
    return decimal(_plain(shown))


def _phone(shown: str) -> str:
    groups = re.findall(r"\d+", shown)
    return ("plus " if shown.startswith("+") else "") + ", ".join(map(spelled, groups))


def _price(minus: str | None, sign: str, number: str, scale: str | None) -> str:
    one, several, hundredth, hundredths = CURRENCIES[sign]
    number = _plain(number)
    whole, _, fraction = number.partition(".")
    lead = "minus " if minus else ""
    if scale is not None:
        return f"{lead}{decimal(number)} {SCALES[scale]} {several}"
    if len(fraction) != 2 or not hundredth:
        return f"{lead}{decimal(number)} {one if number == '1' else several}"
    words = []
    if whole.strip("0") or not int(fraction):
        words.append(f"{cardinal(whole)} {one if whole == '1' else several}")
    if int(fraction):
        words.append(f"{cardinal(str(int(fraction)))} {hundredth if int(fraction) == 1 else hundredths}")
    return lead + " and ".join(words)


def _fraction(found: re.Match[str]) -> str:
    whole, top, bottom = found[1], int(found[2]), int(found[3])
    if not 1 <= top < bottom or (whole is None and bottom > 20):
        slash = "slash" if bottom < 100 else "over"
        return f"{whole + ' ' if whole else ''}{cardinal(found[2])} {slash} {found[3]}"
    one, several = _PARTS.get(bottom) or (ordinal(str(bottom)), f"{ordinal(str(bottom))}s")
    words = f"{cardinal(str(top))} {one if top == 1 else several}"
    return f"{cardinal(whole)} and {words}" if whole else words


def _range(found: re.Match[str]) -> str:
    first, space, dash, last = found.groups()
    return f"{first} {'minus' if dash == '-' and space else 'to'} {last}"


def _suffixed(found: re.Match[str]) -> str:
    if found[0] in ("4K", "8K"):  # of screens
        return f"{found[1]} K"
    return f"{decimal(_plain(found[1]))} {SUFFIXES[found[2]]}"


def _measure(found: re.Match[str]) -> str:
    number, gap, unit = found.groups()
    one, several = UNITS[unit]
    return f"{decimal(_plain(number))} {one if number == '1' or gap == '-' else several}"
