"""What ends the work for a Falcon request: its client leaves."""

import falcon.asgi

from frontend.http.client import client_of
from frontend.routing.router import OnLeave, nobody_leaves


def on_leave_of(request: falcon.asgi.Request | None) -> OnLeave:
    """Registers callbacks for when the client of `request` leaves; None: no client waits for the result."""
    return nobody_leaves if request is None else client_of(request.scope).on_leave
