"""Who follows which session. Pure."""

from collections.abc import Container

from frontend.errors import QueueFull

MAX_ROOMS = 32  # per client

Room = tuple[str | None, str]  # key id and session id: callers that use the same session id do not meet


class Rooms:
    def __init__(self) -> None:
        self._members: dict[Room, set[str]] = {}
        # By client, in the order in which it was last added to them; True: it asked to follow this one.
        self._joined: dict[str, dict[Room, bool]] = {}

    def members(self, room: Room) -> frozenset[str]:
        return frozenset(self._members.get(room, ()))

    def join(self, client: str, room: Room) -> None:
        """Until the client leaves. Raises QueueFull for a client that is in too many rooms."""
        self._add(client, room, is_asked_for=True)

    def enter(self, client: str, room: Room, busy: Container[Room]) -> None:
        """For a prompt of the client. In too many rooms, it leaves the first that it was added to for another
        prompt and that is not `busy`. Raises QueueFull where there is none."""
        if self._is_full(client, room):
            entered = self._joined[client].items()
            idle = (other for other, is_asked_for in entered if not is_asked_for and other not in busy)
            if (unused := next(idle, None)) is not None:
                self.leave(client, unused)
        self._add(client, room, is_asked_for=False)

    def _is_full(self, client: str, room: Room) -> bool:
        joined = self._joined.get(client, {})
        return room not in joined and len(joined) >= MAX_ROOMS

    def _add(self, client: str, room: Room, *, is_asked_for: bool) -> None:
        if self._is_full(client, room):
            raise QueueFull(
                f"session_id: a connection may follow {MAX_ROOMS} sessions; leave one first", "session_id"
            )
        joined = self._joined.setdefault(client, {})
        joined[room] = joined.pop(room, False) or is_asked_for
        self._members.setdefault(room, set()).add(client)

    def leave(self, client: str, room: Room) -> None:
        self._joined.get(client, {}).pop(room, None)
        members = self._members.get(room, set())
        members.discard(client)
        if not members:
            self._members.pop(room, None)

    def leave_all(self, client: str) -> None:
        for room in list(self._joined.get(client, ())):
            self.leave(client, room)
        self._joined.pop(client, None)
