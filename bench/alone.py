"""Measurements without a model: a tensor's transfer through an arena, and the start of the command line."""

import os
import subprocess
import time

from bench import figures
from bench.figures import Figure, Pair
from bench.server import command_environment, nacelle_command
from bench.stats import median
from ipc.arena import ArenaConsumer, ArenaProducer

_TENSOR_BYTES = 8 * 2**20
_ARENA_BYTES = 64 * 2**20
_ROUNDS = 100
_WARM_UP = 10  # first touches of pages
_STARTS = 5


def arena_copy() -> Figure:
    """Time of a tensor's transfer through an arena ÷ time of one memcpy of it, median over many rounds.

    A transfer is: lease, write, view through the consumer's own mapping, one pass of the consumer over all
    bytes (a copy into its own memory), release. Both ends are in this process, so no messages are included.
    The ratio varies by up to 50 % with the caches and memory bandwidth that other processes leave, and is
    larger where system calls cost more, as in virtual machines.
    """
    source, target = os.urandom(_TENSOR_BYTES), memoryview(bytearray(_TENSOR_BYTES))
    producer = ArenaProducer("bench", _ARENA_BYTES)
    consumer = ArenaConsumer(producer.fd)
    rounds = []
    for _ in range(_WARM_UP + _ROUNDS):
        start = time.perf_counter()
        target[:] = source
        copied = time.perf_counter()
        lease = producer.lease(_TENSOR_BYTES)
        assert lease is not None, "the arena is empty between rounds"
        producer.write(lease, source)
        target[:] = consumer.view(lease)
        producer.release(lease.slot, lease.generation)
        rounds.append(Pair(time.perf_counter() - copied, copied - start))
    producer.close()
    ratios = [pair.ratio for pair in rounds[_WARM_UP:]]
    note = f"memcpy {median([pair.yardstick for pair in rounds]) * 1000:.2f} ms"
    return Figure(figures.ARENA, median(ratios), ratios, note=note)


def command_start(*arguments: str) -> Figure:
    """Wall time in seconds for `nacelle ARGUMENTS` to print and exit. Varies by about 10 %."""
    samples = [seconds_of_command(*arguments) for _ in range(_STARTS)]
    return Figure(figures.CLI_START, median(samples), samples, f"nacelle {' '.join(arguments)}")


def seconds_of_command(*arguments: str) -> float:
    command, environment = [*nacelle_command(), *arguments], command_environment()
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)
    return time.perf_counter() - began
