"""Dates and times of day in English."""

import re

from host.speech.number_words import cardinal, ordinal, year

_MONTHS = ("January February March April May June July August September October November December").split()
_MONTH_NAMES = {name: name for name in _MONTHS} | {name[:3]: name for name in _MONTHS} | {"Sept": "September"}
_MONTH = "|".join(sorted(_MONTH_NAMES, key=len, reverse=True))

_ISO = re.compile(r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?:T(?=\d\d:\d\d))?(?![\w-]|\.\d)")
_SLASHED = re.compile(r"(?<![\w/])(\d{1,2})/(\d{1,2})/(\d{4})(?![\w/])")
_DOTTED = re.compile(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\w]|\.\d)")
_MONTH_DAY = re.compile(
    rf"\b({_MONTH})\.? (\d{{1,2}})(?:st|nd|rd|th)?(?:(,)? (\d{{4}}))?(?![\d:]|[.,]\d|%)\b"
)
_DAY_MONTH = re.compile(
    rf"(?<![\w.,:-])(?:[Tt]he )?(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({_MONTH})\b\.?(?:,? (\d{{4}})\b)?"
)
_CLOCK = re.compile(
    r"(?<![\w.:])(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d{1,9}+)?)?(?:\s?([AaPp])\.?[Mm]\b\.?|(Z)\b)?(?![\d:])"
)
_HOUR = re.compile(r"(?<![\w.:])(\d{1,2})\s?([AaPp])\.?[Mm]\b\.?")


def speak_times(line: str, *, day_first: bool) -> str:
    if "-" in line:
        line = _ISO.sub(lambda m: _date(m[0], m[1], m[2], m[3]), line)
    if "/" in line:
        line = _SLASHED.sub(lambda m: _slashed(m, day_first=day_first), line)
    line = _DOTTED.sub(lambda m: _date(m[0], m[3], m[2], m[1]), line)
    line = _MONTH_DAY.sub(_month_day, line)
    line = _DAY_MONTH.sub(_day_month, line)
    if ":" in line:
        line = _CLOCK.sub(_clock, line)
    return _HOUR.sub(_hour, line)


def _date(shown: str, of_year: str, month: str, day: str) -> str:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return shown
    return f"{_MONTHS[int(month) - 1]} {ordinal(day.lstrip('0'))}, {_year(of_year)} ".rstrip() + _after(shown)


def _after(shown: str) -> str:
    return " " if shown.endswith("T") else ""


def _slashed(found: re.Match[str], *, day_first: bool) -> str:
    month, day = found[1], found[2]
    if (day_first and int(day) <= 12) or int(month) > 12:
        month, day = day, month
    return _date(found[0], found[3], month, day)


def _month_day(found: re.Match[str]) -> str:
    name, day = _MONTH_NAMES[found[1]], int(found[2])
    if not 1 <= day <= 31 or (found[1] == "May" and day == 0):
        return found[0]
    of_year = f", {_year(found[4])}" if found[4] else ""
    return f"{name} {ordinal(str(day))}{of_year}"


def _day_month(found: re.Match[str]) -> str:
    day = int(found[1])
    if not 1 <= day <= 31:
        return found[0]
    of_year = f", {_year(found[3])}" if found[3] else ""
    the = found[0][:3] if found[0][0] in "tT" else "the"
    return f"{the} {ordinal(str(day))} of {_MONTH_NAMES[found[2]]}{of_year}"


def _year(digits: str) -> str:
    return cardinal(digits.lstrip("0") or "0") if digits < "1000" else year(digits)


def _clock(found: re.Match[str]) -> str:
    hour, minute, seconds, half = found[1], found[2], found[3], found[4]
    if int(hour) > 24 or int(minute) > 59:
        return found[0]
    words = cardinal(str(int(hour)))
    if minute != "00":
        words += f" {'oh ' if minute < '10' else ''}{cardinal(str(int(minute)))}"
    elif not half:
        words += " o'clock" if 1 <= int(hour) <= 12 else " hundred"
    if seconds and seconds != "00":
        words += f" and {cardinal(str(int(seconds)))} second{'s' if seconds != '01' else ''}"
    return words + _half_of_day(found[0], half)


def _hour(found: re.Match[str]) -> str:
    if not 1 <= int(found[1]) <= 12:
        return found[0]
    return cardinal(str(int(found[1]))) + _half_of_day(found[0], found[2])


def _half_of_day(shown: str, half: str | None) -> str:
    if half is None:
        return ""
    return f" {half.upper()}M" + ("." if shown.endswith(".") else "")
