"""`nacelle ps`: the models that a server has in memory."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from frontend.cli.address import SERVER_PARAMS, find_server
from frontend.cli.client import Client
from frontend.cli.durations import shown_duration
from frontend.cli.tables import print_table
from frontend.cli.units import shown_bytes

HEADINGS = ("NAME", "TASK", "DEVICE", "STATE", "MEMORY", "CONTEXT", "RUNNING", "QUEUED", "UNTIL")
_RIGHT = (4, 5, 6, 7)
_TASKS = ("vision", "embeddings", "rerank", "transcription", "speech")
_NOT_IN_MEMORY = ("unloaded", "remote")


@click.command(
    params=[
        click.Option(
            ["-a", "--all", "everything"], is_flag=True, help="Show models that are not loaded, too."
        ),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the server's JSON."),
        *SERVER_PARAMS,
    ]
)
def ps(everything: bool, as_json: bool, url: str | None, config: Path | None) -> None:
    """List the models that a server has in memory."""
    models = statuses(Client(find_server(url, config)))
    if not everything:
        models = [model for model in models if model["state"] not in _NOT_IN_MEMORY]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(models)).decode())
        return
    print_table(HEADINGS, rows(models, time.time()), _RIGHT)
    for model in models:
        if model.get("reason"):
            click.echo(f"{model['name']}: {model['reason']}", err=True)


def statuses(client: Client) -> list[dict[str, Any]]:
    """What the server says of its models."""
    models: list[dict[str, Any]] = client.get("/admin/models")["models"]
    return models


def rows(models: Sequence[Mapping[str, Any]], now: float) -> list[tuple[str, ...]]:
    """A row per model. `now` is in Unix seconds."""
    return [
        (
            model["name"],
            _task(model),
            model["device"],
            model["state"],
            shown_bytes(model["memory_bytes"]) if model["memory_bytes"] else "-",
            f"{model['context_length']}" if model.get("context_length") else "-",
            str(model["running"]),
            str(model["queued"]),
            _until(model, now),
        )
        for model in models
    ]


def _task(model: Mapping[str, Any]) -> str:
    """As `--task` calls it: the server's own tasks are coarser where several share an engine's messages."""
    engine: str = model.get("engine", "")
    return engine if engine in _TASKS else str(model["task"])


def _until(model: Mapping[str, Any], now: float) -> str:
    if model.get("pinned"):
        return "pinned"
    if model["state"] in _NOT_IN_MEMORY or model["state"] == "failed":
        return "-"
    expires = model.get("expires_at")
    return "indefinitely" if expires is None else f"{shown_duration(expires - now)} from now"
