"""Who follows which session. Pure."""

from frontend.errors import QueueFull

MAX_ROOMS = 32  # per client

Room = tuple[str | None, str]  # key id and session id: callers that use the same session id do not meet


class Rooms:
    def __init__(self) -> None:
        self._members: dict[Room, set[str]] = {}
        self._joined: dict[str, set[Room]] = {}  # by client

    def members(self, room: Room) -> frozenset[str]:
        return frozenset(self._members.get(room, ()))

    def join(self, client: str, room: Room) -> None:
        """Raises QueueFull for a client that is in too many rooms."""
        joined = self._joined.setdefault(client, set())
        if room not in joined and len(joined) >= MAX_ROOMS:
            raise QueueFull(f"session_id: a connection may follow {MAX_ROOMS} sessions; leave one first")
        joined.add(room)
        self._members.setdefault(room, set()).add(client)

    def leave(self, client: str, room: Room) -> None:
        self._joined.get(client, set()).discard(room)
        members = self._members.get(room, set())
        members.discard(client)
        if not members:
            self._members.pop(room, None)

    def leave_all(self, client: str) -> None:
        for room in list(self._joined.get(client, ())):
            self.leave(client, room)
        self._joined.pop(client, None)
