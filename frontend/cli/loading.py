"""`nacelle load` and `nacelle unload`."""

from pathlib import Path
from typing import Any

import click

from frontend.cli.address import SERVER_PARAMS, find_server
from frontend.cli.client import Client, Refused
from frontend.cli.completion import complete_loaded, complete_model
from frontend.cli.durations import keep_alive_option
from frontend.cli.waiting import Waiting

_LOAD_SECONDS = 3600.0  # the server has a limit of its own
_UNLOAD_SECONDS = 900.0  # for requests that run to finish

models_argument = click.Argument(
    ["models"], nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_model
)
_loaded_argument = click.Argument(
    ["models"], nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_loaded
)

_ESTIMATE_OPTIONS = [
    click.Option(
        ["--estimate"],
        is_flag=True,
        help="Only print the memory that the models would take. Needs no server.",
    ),
    click.Option(
        ["--sequences"],
        type=click.IntRange(1, 1_000_000),
        default=1,
        metavar="N",
        help="With --estimate: number of texts of full length in the KV cache.  [default 1]",
    ),
    click.Option(
        ["--context-length"],
        type=click.IntRange(16, 100_000_000),
        metavar="N",
        help="With --estimate: length of a text in tokens. Default: as configured, or the model's limit.",
    ),
    click.Option(["--json", "as_json"], is_flag=True, help="With --estimate: print JSON for programs."),
]


@click.command(params=[models_argument, keep_alive_option, *_ESTIMATE_OPTIONS, *SERVER_PARAMS])
def load(
    models: tuple[str, ...],
    keep_alive: float | None,
    estimate: bool,
    sequences: int,
    context_length: int | None,
    as_json: bool,
    url: str | None,
    config: Path | None,
) -> None:
    """Load models into a running server, so that the first request need not wait."""
    if estimate:
        from frontend.cli.estimate import print_estimates  # imports what reads model folders

        print_estimates(models, config, context_length=context_length, sequences=sequences, as_json=as_json)
        return
    client = Client(find_server(url, config))
    for model in models:
        status = load_model(client, model, keep_alive)
        seconds = status.get("load_seconds")
        click.echo(f"{model} is loaded{f' ({seconds:.1f} s)' if seconds else ''}")


@click.command(params=[_loaded_argument, *SERVER_PARAMS])
def unload(models: tuple[str, ...], url: str | None, config: Path | None) -> None:
    """Remove models from the memory of a running server, once their requests are done."""
    unload_models(Client(find_server(url, config)), models)


def load_model(client: Client, model: str, keep_alive: float | None = None) -> dict[str, Any]:
    """Until it is loaded. Returns the server's answer, or an empty one if it has none."""
    body: dict[str, Any] = {"model": model}
    if keep_alive is not None:
        body["keep_alive"] = keep_alive
    with Waiting(f"loading {model}"):
        answer = _admin(client, "/admin/models/load", body, _LOAD_SECONDS)
    return answer if isinstance(answer, dict) else {}


def unload_models(client: Client, models: tuple[str, ...]) -> None:
    for model in models:
        with Waiting(f"unloading {model}"):
            _admin(client, "/admin/models/unload", {"model": model}, _UNLOAD_SECONDS)
        click.echo(f"{model} is unloaded")


def _admin(client: Client, path: str, body: dict[str, Any], seconds: float) -> Any:
    try:
        return client.post(path, body, seconds)
    except Refused as refused:
        if refused.code == "model_not_found":
            raise Refused(
                refused.status, f"{refused.message}; see nacelle ps --all", refused.code
            ) from refused
        raise
