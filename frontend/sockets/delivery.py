"""Sends events to clients, and bounds what is queued for a client that reads too slowly.

Engine.IO queues packets for each connection without a limit. Therefore, while HELD_FROM packets wait for a
client, further tokens of its answers are joined, and sent as one once fewer packets wait. A client for which
MAX_PACKETS wait is disconnected.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from frontend.api.schema.inference import TOKEN, InferenceToken

HELD_FROM = 64
MAX_PACKETS = 512

log = logging.getLogger("nacelle.sockets")


class Delivery:
    def __init__(self, server: Any) -> None:
        """`server`: a `socketio.AsyncServer`."""
        self._server = server

    async def send(self, event: str, body: msgspec.Struct, clients: Iterable[str]) -> None:
        data = msgspec.to_builtins(body)
        for client in clients:
            if await self.keeps_up(client):
                await self._server.emit(event, data, to=client)

    async def keeps_up(self, client: str) -> bool:
        """Whether a client is connected and reads its packets. One that does not read is disconnected."""
        if (connection := self.connection(client)) is None:
            return False
        if connection.queue.qsize() >= MAX_PACKETS:
            log.warning("a Socket.IO client reads too slowly: disconnected")
            await connection.close(wait=False, abort=True)
            _end(connection.queue)
            return False
        return True

    def takes_more(self, client: str) -> bool:
        connection = self.connection(client)
        return connection is None or connection.queue.qsize() < HELD_FROM

    def connection(self, client: str) -> Any:
        """Engine.IO's; None if it is closed."""
        engine_id = self._server.manager.eio_sid_from_sid(client, "/")
        connection = self._server.eio.sockets.get(engine_id)
        return None if connection is None or connection.closed or connection.closing else connection


def _end(packets: "asyncio.Queue[Any]") -> None:
    """Make the task that writes these packets close the connection now rather than at the next ping."""
    while not packets.empty():
        packets.get_nowait()
        packets.task_done()
    packets.put_nowait(None)


class Tokens:
    """Sends one answer's tokens to several clients, joined for those that read too slowly."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._held: dict[str, InferenceToken] = {}  # by client

    async def add(self, token: InferenceToken, clients: Iterable[str]) -> None:
        ready: list[str] = []
        for client in clients:
            if client in self._held or not self._delivery.takes_more(client):
                self._held[client] = joined(self._held.get(client), token)
                if self._delivery.takes_more(client):
                    await self._delivery.send(TOKEN, self._held.pop(client), [client])
            else:
                ready.append(client)
        await self._delivery.send(TOKEN, token, ready)

    async def flush(self, clients: Iterable[str]) -> None:
        for client in clients:
            if (token := self._held.pop(client, None)) is not None:
                await self._delivery.send(TOKEN, token, [client])


def joined(first: InferenceToken | None, second: InferenceToken) -> InferenceToken:
    if first is None:
        return second
    reasoning = (first.reasoning or "") + (second.reasoning or "")
    return msgspec.structs.replace(
        first, token=first.token + second.token, reasoning=reasoning or msgspec.UNSET
    )
