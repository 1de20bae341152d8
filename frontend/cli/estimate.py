"""`nacelle load --estimate`: the memory that models would take, without loading them."""

import os
from pathlib import Path

import click
import msgspec

from frontend.cli.notes import print_notes
from frontend.cli.options import layer_of
from frontend.cli.stores import named
from frontend.cli.tables import aligned
from frontend.cli.units import shown_bytes
from frontend.config import ModelSettings
from frontend.config_found import settings_here
from frontend.models.errors import ModelError
from frontend.models.estimate import Estimate, estimate_bytes
from frontend.models.folder import look_at
from frontend.models.inventory import Inventory
from frontend.models.recognize import recognize
from frontend.models.root import store_root
from frontend.residency.limits import available_bytes

_WITH_KV_CACHE = {"text", "vision"}  # tasks


class Named(msgspec.Struct, frozen=True):
    """As JSON: the estimate of one model."""

    model: str
    path: str
    task: str
    estimate: Estimate


def print_estimates(
    models: tuple[str, ...],
    config: Path | None,
    *,
    context_length: int | None = None,
    sequences: int = 1,
    as_json: bool = False,
) -> None:
    """Print what each model would take: a name of the store or of a [[models]] entry, or an IR folder.

    Raises ModelError and ConfigError.
    """
    options = layer_of(ModelSettings, {"context_length": context_length})
    settings, notes = settings_here({}, options, models, config, os.environ)
    print_notes(notes)
    inventory = Inventory(store_root(settings.store))
    found = [estimate_of(model, inventory, sequences) for model in settings.models]
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)))
        return
    for one in found:
        click.echo("\n".join([f"{one.model} on {one.estimate.device}", *_lines(one.estimate)]))
    click.echo(f"Free memory: {shown_bytes(available_bytes())}")


def estimate_of(model: ModelSettings, store: Inventory, sequences: int) -> Named:
    """Raises ModelError for a model that is not here."""
    folder = Path(model.source).expanduser()
    if not (os.sep in model.source and folder.is_dir()):
        folder = store.require(named(model.source)).path
    task = recognize(look_at(folder), model.task, model.library).task
    try:
        estimate = estimate_bytes(
            folder,
            model,
            store.learned(folder),
            sequences=sequences,
            has_kv_cache=task in _WITH_KV_CACHE,
        )
    except OSError as error:
        raise ModelError(f"cannot read {folder}: {error.strerror}") from error
    return Named(model.name, str(folder), task, estimate)


def _lines(one: Estimate) -> list[str]:
    rows = [("  weights", shown_bytes(one.weights_bytes), "")]
    if one.kv_cache_bytes:
        rows.append(("  KV cache", shown_bytes(one.kv_cache_bytes), _cache_words(one)))
    rows += [
        ("  process", shown_bytes(one.process_bytes), "OpenVINO and Python"),
        ("  total", shown_bytes(one.total_bytes), "calculated from the files"),
    ]
    if one.measured_bytes is not None:
        seconds = f", which took {one.measured_seconds:.1f} s" if one.measured_seconds else ""
        rows.insert(0, ("  measured", shown_bytes(one.measured_bytes), f"after the last load{seconds}"))
    return aligned(rows, right=(1,))


def _cache_words(one: Estimate) -> str:
    if not one.kv_bytes_per_token:
        return "as configured"
    each = f"{one.kv_bytes_per_token / 1000:.1f} kB per token"
    tokens = round(one.kv_cache_bytes / one.kv_bytes_per_token)
    return (
        f"{tokens:,} tokens, {each}; {one.sequences} × {one.context_length:,} tokens"
        if one.context_length
        else each
    )
