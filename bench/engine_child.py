"""The raw pipeline in a process of its own: workloads come in as lines of JSON, records go out."""

import os
import sys
from typing import BinaryIO

import msgspec

from bench.client import clock
from bench.stats import RequestRecord
from bench.workload import Workload
from ipc.channel import receive_launch


class Loaded(msgspec.Struct, tag=True):
    """The model is ready. `seconds` is how long its load took."""

    seconds: float


class Measured(msgspec.Struct, tag=True):
    """The records of one workload, in the order in which requests finished."""

    records: list[RequestRecord]


Reply = Loaded | Measured


def serve(commands: BinaryIO, replies: BinaryIO) -> None:
    """Load what the launch message says, then run each workload of a line of JSON, until the input ends."""
    from bench.raw import RawEngine  # OpenVINO, which the parent process does without

    launch = receive_launch(commands)
    started = clock()
    engine = RawEngine(launch)
    _send(replies, Loaded(clock() - started))
    for line in commands:
        _send(replies, Measured(engine.run(msgspec.json.decode(line, type=Workload))))


def _send(replies: BinaryIO, reply: Reply) -> None:
    replies.write(msgspec.json.encode(reply) + b"\n")
    replies.flush()


if __name__ == "__main__":
    # What native code prints must not get among the replies.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(sys.stdin.buffer, out)
