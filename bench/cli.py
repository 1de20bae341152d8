"""The `nacelle bench` commands."""

import click

from bench.chaos import chaos
from bench.engine import engine
from bench.features import features
from bench.fuzz import fuzz
from bench.hostile import hostile
from bench.ipc import ipc
from bench.overhead import overhead
from bench.serve import serve
from bench.soak import soak


@click.group()
def bench() -> None:
    """Measure any OpenAI server, the raw pipeline, Nacelle's overhead or shared memory, or test a server."""


for _command in (serve, engine, overhead, features, ipc, chaos, soak, fuzz, hostile):
    bench.add_command(_command)
