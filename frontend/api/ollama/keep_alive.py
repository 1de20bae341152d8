"""How long a model stays loaded after a request: Ollama's `keep_alive`. Pure."""

import math
import re

from frontend.errors import BadRequest

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"([+-]?)({_PART}(?:{_PART})*)")
_ONE = re.compile(r"([0-9.]+)([a-zµμ]+)")
_MAX_CHARACTERS = 100
FOR_EVER = -1.0
_LONGEST = 10 * 365 * 86_400.0  # more is for ever


def keep_alive_seconds(value: float | str | None) -> float | None:
    """Seconds from a number of seconds or a duration such as "5m" or "1h30m".

    0 unloads the model as soon as it is idle; FOR_EVER, which any negative duration becomes, never does; None
    is the server's setting. Raises BadRequest.
    """
    if value is None or value == "":
        return None
    seconds = _seconds(value) if isinstance(value, str) else float(value)
    if math.isnan(seconds):
        raise BadRequest("keep_alive: must be a number of seconds", "keep_alive")
    return FOR_EVER if seconds < 0 or seconds > _LONGEST else seconds


def _seconds(text: str) -> float:
    if len(text) <= _MAX_CHARACTERS:
        if found := _DURATION.fullmatch(text.strip()):
            sign, parts = found.groups()
            total = sum(float(number) * _UNITS[unit] for number, unit in _ONE.findall(parts))
            return -total if sign == "-" else total
        try:
            return float(text)  # Ollama takes numbers alone; clients keep them in text fields
        except ValueError:
            pass
    raise BadRequest(
        'keep_alive: must be a number of seconds, or a duration such as "5m", "24h" or "-1m"', "keep_alive"
    )
