"""A token bucket that is refilled at a rate per minute and holds one minute's amount. Pure."""


class Bucket:
    """Begins full. Times are seconds of any clock that does not go back."""

    def __init__(self, per_minute: int, now: float) -> None:
        self.size = per_minute
        self._level = float(per_minute)
        self._at = now

    def level(self, now: float) -> float:
        """What may be taken now; below 0 after more was used than was available."""
        self._level = min(self.size, self._level + (now - self._at) * self.size / 60)
        self._at = now
        return self._level

    def take(self, amount: float, now: float) -> None:
        """Take an amount even if there is not enough; a negative one is given back."""
        self._level = min(self.size, self.level(now) - amount)

    def resize(self, per_minute: int, now: float) -> None:
        """Change the rate; what was used stays used."""
        used = self.size - self.level(now)
        self.size, self._level = per_minute, per_minute - used

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` can be taken, which is at most the size; 0 if it can be now."""
        missing = amount - self.level(now)
        return 0.0 if missing <= 1e-9 else missing * 60 / max(self.size, 1e-9)

    def until_full(self, now: float) -> float:
        """Seconds until the whole size can be taken; 0 for an empty bucket, which nothing refills."""
        return self.wait(self.size, now) if self.size else 0.0
