"""How a failure of the session store is reported: the details to the log, a plain 503 to the client."""

import logging

from frontend.errors import StoreUnavailable

log = logging.getLogger("nacelle.sessions")


def unavailable(error: Exception) -> StoreUnavailable:
    """The error for the client. Addresses and paths in the original message go to the log only."""
    log.warning("the session store failed: %s", str(error) or type(error).__name__)
    return StoreUnavailable("the session store is not available", retry_after=1)
