"""A turn whose events are known."""

from frontend.api.turns import TurnUsage


class KnownTurn:
    choices = 1
    usage = TurnUsage(7, 3)

    def __init__(self, *events):
        self.left = [[(0, event)] for event in events]
        self.closed = False

    def call_id(self, choice, call):
        return f"call_{call}"

    async def events(self):
        return self.left.pop(0) if self.left else []

    def close(self):
        self.closed = True
