"""Which models exist for a request: a model that its caller may not use is one that does not exist.

The router asks this wherever a name is looked up, so that no endpoint has to.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from frontend.caller import ANYBODY, STRANGER, Caller
from frontend.errors import Forbidden
from frontend.shortened import quoted


class Sight:
    """The models that exist for a caller: those on its list, and those that it reached through other names
    on its list."""

    def __init__(self, caller: Caller = ANYBODY) -> None:
        self.caller = caller
        self.reached: set[str] = set()

    @property
    def is_whole(self) -> bool:
        return self.caller.models is None

    @property
    def is_strangers(self) -> bool:
        """Of somebody without a key, on a server that has keys."""
        return self.caller is STRANGER

    def reach(self, model: str) -> None:
        """From now on the request may ask about this model by its own name."""
        if not self.is_whole:
            self.reached.add(model)

    def has(self, model: str) -> bool:
        return self.is_whole or model in self.reached or self.caller.may_use(model)


_WHOLE = Sight()  # never changes
_sight: ContextVar[Sight] = ContextVar("sight", default=_WHOLE)


def sight() -> Sight:
    """Of the request for which this code runs; the server itself sees all models."""
    return _sight.get()


def refuse_others(name: str) -> None:
    """Raises Forbidden if a model of this name would not exist for whoever asks to add it."""
    if not sight().has(name):
        raise Forbidden(f"this API key may not add {quoted(name)}, which is not in its list of models")


@contextmanager
def asking(caller: Caller) -> Iterator[None]:
    """Code inside, and the tasks that it starts, see only the models of this caller."""
    token = _sight.set(Sight(caller))
    try:
        yield
    finally:
        _sight.reset(token)
