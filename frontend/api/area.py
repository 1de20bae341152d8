"""What an area of the API is given to install its routes."""

from typing import Any

import falcon.asgi
import msgspec

from frontend.api.images import Images
from frontend.api.memory import Memory
from frontend.library import Library
from frontend.observability.metrics import Metrics
from frontend.routing.router import Router
from frontend.spool import Spools

App = falcon.asgi.App[Any, Any]


class Server(msgspec.Struct, frozen=True):
    """The parts of the server that areas share."""

    router: Router
    metrics: Metrics
    memory: Memory
    images: Images
    spools: Spools
    max_body_bytes: int
    max_upload_bytes: int
    started: int  # in Unix seconds
    library: Library
