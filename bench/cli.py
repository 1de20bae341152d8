"""The `nacelle bench` commands."""

import click

from bench.chaos import chaos
from bench.engine import engine
from bench.overhead import overhead
from bench.serve import serve


@click.group()
def bench() -> None:
    """Benchmark OpenAI servers, the raw pipeline, and the overhead of Nacelle."""


for _command in (serve, engine, overhead, chaos):
    bench.add_command(_command)
