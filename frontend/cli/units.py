"""Units in which sizes and times are shown."""

KILOBYTE = 1000
MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000


def shown_bytes(count: int) -> str:
    """1.2 GB, 134 MB, 12 kB or 300 B."""
    if count >= GIGABYTE:
        return f"{count / GIGABYTE:.1f} GB"
    if count >= MEGABYTE:
        return f"{count / MEGABYTE:.0f} MB"
    return f"{count / KILOBYTE:.0f} kB" if count >= KILOBYTE else f"{count} B"


def shown_seconds(seconds: float) -> str:
    """For people: 42 s, 3 min, 1 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
