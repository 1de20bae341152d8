"""The process that compiles constraints: reads them from stdin, and writes the outcomes to stdout.

Each message is MessagePack after its length in 4 bytes. A constraint that takes too much CPU time kills the
process. It ends with its stdin, and by itself when it has been idle for long.
"""

import importlib
import resource
import select
import struct
import sys
import time
from typing import BinaryIO

import msgspec

from frontend.structured.cache import Outcome, outcome_of

LENGTH = struct.Struct("<I")
IDLE_SECONDS = 60.0
MEMORY_BYTES = 512 * 1024**2


class Task(msgspec.Struct, array_like=True):
    kind: str  # the compiler: its module and name
    content: bytes  # the constraint
    is_json: bool  # rather than MessagePack
    cpu_seconds: int


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        message = read_message(source)
        if message is None:
            return
        task = msgspec.msgpack.decode(message, type=Task)
        _limit_cpu(task.cpu_seconds)
        write_message(target, msgspec.msgpack.encode(compile_task(task)))


def compile_task(task: Task) -> Outcome:
    module, _, name = task.kind.rpartition(".")
    compiler = getattr(importlib.import_module(module), name)
    decode = msgspec.json.decode if task.is_json else msgspec.msgpack.decode
    return outcome_of(compiler, decode(task.content))


def read_message(source: BinaryIO) -> bytes | None:
    """None at the end of the stream."""
    head = source.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = source.read(length)
    return body if len(body) == length else None


def write_message(target: BinaryIO, message: bytes) -> None:
    target.write(LENGTH.pack(len(message)) + message)
    target.flush()


def _limit_cpu(seconds: int) -> None:
    """From now on; whole seconds only, so that it may be one more."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + seconds, hard))


if __name__ == "__main__":
    main()
