"""The error of this package. The API layer decides how a client sees it."""

import contextlib
from collections.abc import Iterator
from typing import NoReturn


class ConstraintError(Exception):
    """A constraint on the output that is invalid, unsupported or too large.

    `path` leads from the constraint to the fault, such as ".properties.age.minimum" or "[3]"; it is empty for
    the constraint as a whole. `message` does not repeat it.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path


@contextlib.contextmanager
def faults_below(path: str) -> Iterator[None]:
    """Complete the paths of faults in a part that is compiled on its own; `path` leads to the part."""
    try:
        yield
    except ConstraintError as error:
        raise ConstraintError(error.message, path + error.path) from None


def reject(path: str, message: str) -> NoReturn:
    """Raise ConstraintError."""
    raise ConstraintError(message, path)
