"""What follows a failed forward pass: the request that caused it is found, and only that one fails."""

import sys
from collections import deque

from host.engines.base import EngineLost
from host.native_errors import is_wedged, summary
from host.vectors.request import VectorRequest
from host.vectors.waiting import Input
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Failed

FAILED = RequestError(ErrorCode.ENGINE_FAILED, "the engine failed on this request")


class Failures:
    """A failed pass → the model is reset → its inputs are computed again, each alone → one that fails alone
    accuses its request → reset → the model computes an input of its own choice: if that succeeds the request
    fails, else the engine is lost."""

    def __init__(self) -> None:
        self.needs_reset = False
        self.accused: list[VectorRequest] = []
        self._suspects: deque[Input] = deque()

    def note(self, inputs: list[Input], alone: bool, error: BaseException) -> None:
        """A pass failed. `inputs` leaves out those of cancelled requests; `alone` is whether the pass had one
        input. Raises EngineLost for an error after which the device is unusable."""
        print(f"a forward pass failed: {error}", file=sys.stderr, flush=True)
        if is_wedged(error):
            raise lost(error) from error
        self.needs_reset = True
        if not alone:
            self._suspects.extend(inputs)
        elif inputs and inputs[0].request not in self.accused:
            self.accused.append(inputs[0].request)

    def next_suspect(self) -> Input | None:
        """The next input to compute alone."""
        while self._suspects:
            suspect = self._suspects.popleft()
            if suspect.request not in self.accused:
                return suspect
        return None

    def drop(self, request: VectorRequest) -> None:
        """Forget a request."""
        self._suspects = deque(item for item in self._suspects if item.request is not request)
        if request in self.accused:
            self.accused.remove(request)

    def convict(self) -> list[Failed]:
        """The model works: those accused are to blame."""
        failed = [Failed(request.request_id, FAILED) for request in self.accused]
        self.accused.clear()
        return failed


def lost(error: BaseException) -> EngineLost:
    return EngineLost(f"the engine failed: {summary(error)}")
