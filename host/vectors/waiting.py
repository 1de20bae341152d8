"""Inputs that wait for a forward pass, and whose turn it is."""

from bisect import insort

from host.vectors.planning import Limits, Plan, Take, plan_batch
from host.vectors.request import TokenRow, VectorRequest


class Input:
    """One input of a request."""

    __slots__ = ("index", "request", "row")

    def __init__(self, request: VectorRequest, index: int, row: TokenRow) -> None:
        self.request = request
        self.index = index  # among the request's inputs
        self.row = row

    @property
    def length(self) -> int:
        """In tokens."""
        return len(self.row.ids)


class WaitingInputs:
    """Requests take turns. The one whose turn it is puts its longest waiting input into the next batch, and
    inputs of similar length from any request, the oldest first, fill that batch.

    So a request waits for at most one pass per request before it, however many inputs those have.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_length: dict[int, dict[Input, None]] = {}  # the oldest first
        self._lengths: list[int] = []  # ascending
        self._by_request: dict[
            VectorRequest, list[Input]
        ] = {}  # by turn; ascending lengths, some of them taken

    def __bool__(self) -> bool:
        return bool(self._lengths)

    def add(self, request: VectorRequest, rows: list[TokenRow]) -> None:
        """Let all inputs of a request wait; its turn comes last."""
        inputs = [Input(request, index, row) for index, row in enumerate(rows)]
        for item in inputs:
            length = item.length
            if length not in self._by_length:
                insort(self._lengths, length)
                self._by_length[length] = {}
            self._by_length[length][item] = None
        self._by_request[request] = sorted(inputs, key=lambda item: item.length)

    def drop(self, request: VectorRequest) -> None:
        """Forget what still waits of a request, if anything does."""
        for item in self._by_request.pop(request, ()):
            self._remove(item)

    def next_batch(self) -> tuple[Plan, list[Input]]:
        """Take the next batch out. Something must be waiting."""
        anchor = self._anchor()
        takes = [Take(length, len(self._by_length[length])) for length in self._lengths]
        plan = plan_batch(takes, anchor.length, self._limits)
        self._remove(anchor)
        batch = [anchor]
        for take in plan.takes:
            count = take.inputs - (take.length == anchor.length)
            oldest = iter(self._by_length.get(take.length, ()))
            batch += [next(oldest) for _ in range(count)]
        for item in batch[1:]:
            self._remove(item)
        return plan, batch

    def _anchor(self) -> Input:
        """The longest waiting input of the request whose turn it is; its next turn comes last."""
        while True:
            request = next(iter(self._by_request))
            inputs = self._by_request.pop(request)
            while inputs and not self._waits(inputs[-1]):
                inputs.pop()
            if inputs:
                self._by_request[request] = inputs
                return inputs[-1]

    def _waits(self, item: Input) -> bool:
        return item in self._by_length.get(item.length, ())

    def _remove(self, item: Input) -> None:
        alike = self._by_length.get(item.length)
        if alike is None or item not in alike:
            return
        del alike[item]
        if not alike:
            del self._by_length[item.length]
            self._lengths.remove(item.length)
