"""Units in which sizes and times are shown."""

MEGABYTE = 1_000_000


def shown_seconds(seconds: float) -> str:
    """For people: 42 s, 3 min, 1 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
