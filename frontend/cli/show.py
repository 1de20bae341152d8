"""`nacelle show`: everything that is known about a model of the store."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from frontend.cli.completion import complete_stored
from frontend.cli.stores import STORE_PARAMS, json_option, named, open_store
from frontend.cli.styles import styled
from frontend.cli.units import shown_bytes
from frontend.models.catalogue import CATALOGUE, load_catalogue
from frontend.models.details import Details, details_of
from frontend.models.manifest import Manifest
from frontend.models.shelf import FILES, Installed

_TEMPLATE_CHARACTERS = 60
_LIBRARIES = {"genai": "OpenVINO GenAI", "openvino": "OpenVINO", "optimum": "Optimum Intel"}
_BY_GENAI = {"text", "vision", "transcription"}  # tasks
_CONVERTER = {"nacelle": "Nacelle's converter, revision"}  # which counts by itself, unlike the others
Pairs = list[tuple[str, str]]


@click.command(
    "show",
    params=[
        click.Argument(["name"], shell_complete=complete_stored),
        click.Option(["--template"], is_flag=True, help="Print only the chat template."),
        click.Option(["--licence", "--license"], is_flag=True, help="Print only the licence."),
        json_option,
        *STORE_PARAMS,
    ],
)
def show(
    name: str, template: bool, licence: bool, as_json: bool, store: str | None, config: Path | None
) -> None:
    """Show all that is known about a model of the store."""
    one = open_store(store, config).require(named(name))
    entry = (
        load_catalogue().get(one.manifest.recipe.name) if one.manifest.recipe.kind == "catalogue" else None
    )
    details = details_of(one, entry.licence if entry else "")
    if template:
        click.echo(details.template)
    elif licence:
        click.echo(details.licence_text or details.licence)
    elif as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(as_object(one, details))))
    else:
        for title, pairs in sections(one, details):
            click.echo(styled(title, "bold", sys.stdout))
            width = max(len(key) for key, _ in pairs)
            for key, value in pairs:
                click.echo(f"  {key:<{width}}  {value}".rstrip())
            click.echo()


def as_object(one: Installed, details: Details) -> dict[str, Any]:
    return {
        "name": one.name,
        "path": str(one.path),
        "is_current": one.is_current,
        "bytes": one.bytes,
        "manifest": one.manifest,
        "details": details,
    }


def sections(one: Installed, details: Details) -> Iterator[tuple[str, Pairs]]:
    """Title, and what is below it. What is unknown is left out."""
    manifest = one.manifest
    yield "Model", _known(_model(one))
    yield "Source", _known(_source(manifest, details))
    if learned := _known(_learned(manifest)):
        yield "On this machine", learned
    if details.parameters:
        yield "Parameters", [(key, _shown(value)) for key, value in details.parameters.items()]
    if details.template:
        first = details.template.strip().splitlines()[0]
        more = "…" if len(details.template) > _TEMPLATE_CHARACTERS else ""
        hint = f"nacelle show {one.name} --template"
        yield "Template", [(f"{first[:_TEMPLATE_CHARACTERS]}{more}", f"({hint})")]
    if manifest.files:
        yield "Files", [(file, shown_bytes(size)) for file, size in manifest.files.items()]


def _model(one: Installed) -> Pairs:
    manifest = one.manifest
    return [
        ("name", one.name),
        ("task", manifest.task),
        ("library", _library(manifest)),
        ("parameters", _count(manifest.parameters)),
        ("precision", manifest.precision),
        ("context length", str(manifest.context_length or "")),
        ("devices", ", ".join(manifest.devices) or "any"),
        ("size", shown_bytes(one.bytes)),
        ("OpenVINO", manifest.openvino),
        ("state", _state(one)),
        ("stored", manifest.created.astimezone().isoformat(" ", "seconds")),
        ("folder", str(one.path)),
    ]


def _state(one: Installed) -> str:
    if one.is_current:
        return "ready"
    is_converted = one.kind in (CATALOGUE, FILES)  # what was pulled, and a copy, stay as they are
    again = "converted again when it is served"
    return f"outdated: {again if is_converted else 'served as it is'}"


def _library(manifest: Manifest) -> str:
    """What computes the model. For some tasks, both names of a setting mean OpenVINO GenAI."""
    name = "genai" if manifest.task in _BY_GENAI and manifest.library == "openvino" else manifest.library
    return _LIBRARIES.get(name, name)


def _source(manifest: Manifest, details: Details) -> Pairs:
    return [
        ("kind", manifest.origin.kind or manifest.recipe.kind),
        ("origin", manifest.source),
        ("revision", manifest.origin.revision),
        ("size", shown_bytes(manifest.origin.bytes) if manifest.origin.bytes else ""),
        ("SHA-256", manifest.recipe.sha256),
        ("licence", details.licence),
        (
            "converted by",
            ", ".join(
                _CONVERTER.get(name, name) + f" {version}"
                for name, version in manifest.recipe.converters.items()
            ),
        ),
    ]


def _learned(manifest: Manifest) -> Pairs:
    pairs: Pairs = []
    for device, measured in manifest.measured.items():
        took = f"{shown_bytes(measured.memory_bytes)}, loaded in {measured.load_seconds:.1f} s"
        pairs.append((f"memory on {device}", took))
    if (tuned := manifest.tuned) is not None:
        values = {**tuned.settings, **tuned.properties}
        pairs.append(("tuned", ", ".join(f"{key}={value}" for key, value in values.items())))
        pairs.append(("gain", f"{tuned.gain:.2f} × in {tuned.goal or 'speed'}" if tuned.gain else ""))
    return pairs


def _known(pairs: Pairs) -> Pairs:
    return [(key, value) for key, value in pairs if value]


def _count(parameters: int) -> str:
    for size, unit in ((1e9, "B"), (1e6, "M")):
        if parameters >= size:
            return f"{parameters / size:.3g} {unit}"
    return str(parameters or "")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
