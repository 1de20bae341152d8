"""What ends the work for a Falcon request: its client leaves."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import falcon.asgi

from frontend.errors import ClientGone
from frontend.http.client import client_of
from frontend.routing.router import OnLeave, nobody_leaves

T = TypeVar("T")


def on_leave_of(request: falcon.asgi.Request | None) -> OnLeave:
    """Registers callbacks for when the client of `request` leaves; None: no client waits for the result."""
    return nobody_leaves if request is None else client_of(request.scope).on_leave


async def while_there(work: Awaitable[T], request: falcon.asgi.Request | None) -> T:
    """The result of `work`; if the client of `request` leaves, it is cancelled. Raises ClientGone then."""
    task = asyncio.ensure_future(work)
    left: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    on_leave_of(request)(lambda: None if left.done() else left.set_result(None))
    try:
        await asyncio.wait((task, left), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        task.cancel()
        left.cancel()
