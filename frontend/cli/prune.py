"""`nacelle prune`: removes from the store what no model needs."""

from pathlib import Path

import click
import msgspec

from frontend.cli.stores import STORE_PARAMS, json_option, open_store
from frontend.cli.units import shown_bytes
from frontend.models.errors import ModelError
from frontend.models.pruning import Needless, Pruned
from frontend.models.pruning import prune as prune_store


class _Report(msgspec.Struct, frozen=True):
    dry_run: bool
    bytes: int
    removed: list[dict[str, str | int]]
    kept: list[dict[str, str | int]]
    digests: int


@click.command(
    "prune",
    params=[
        click.Option(["--dry-run"], is_flag=True, help="Only print what would be removed."),
        click.Option(
            ["--keep-sources"],
            is_flag=True,
            help="Keep downloaded sources, so that another version of OpenVINO can convert them offline.",
        ),
        json_option,
        *STORE_PARAMS,
    ],
)
def prune(dry_run: bool, keep_sources: bool, as_json: bool, store: str | None, config: Path | None) -> None:
    """Remove from the store what no model needs.

    These are models made by other versions of the converters where a newer one is there, what interrupted
    pulls left, downloaded sources of converted models, and the hashes of files that are gone. No model is
    lost, and no file of yours is touched.
    """
    models = open_store(store, config)
    try:
        pruned = prune_store(models, sources=not keep_sources, dry_run=dry_run)
    except OSError as error:
        raise ModelError(f"cannot change the store {models.root}: {error.strerror or error}") from error
    if as_json:
        report = _Report(
            dry_run,
            pruned.bytes,
            [_as_object(one) for one in pruned.removed],
            [_as_object(one) for one in pruned.kept],
            pruned.digests,
        )
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
        return
    _print(pruned, models.root, dry_run)


def _as_object(one: Needless) -> dict[str, str | int]:
    return {"path": str(one.path), "why": one.why, "bytes": one.bytes}


def _print(pruned: Pruned, root: Path, dry_run: bool) -> None:
    for one in pruned.removed:
        verb = "Would remove" if dry_run else "Removed"
        click.echo(f"{verb} {one.path.relative_to(root)} ({one.why}, {shown_bytes(one.bytes)})")
    for one in pruned.kept:
        click.echo(f"Kept {one.path.relative_to(root)} ({one.why}): it is in use")
    if pruned.digests:
        click.echo(f"{'Would forget' if dry_run else 'Forgot'} the hashes of {pruned.digests} changed files")
    verb = "Would free" if dry_run else "Freed"
    click.echo(f"{verb} {pruned.bytes} bytes ({shown_bytes(pruned.bytes)})")
