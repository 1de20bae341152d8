"""From fetched files to a model of the store: stored as they are, converted, or exported."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from frontend.models.errors import ModelError
from frontend.models.folder import FolderFacts
from frontend.models.inventory import SOURCE
from frontend.models.manifest import Origin, Recipe
from frontend.models.recognize import check_servable, recognize
from frontend.models.reporter import Reporter
from frontend.models.sources.choice import Choice
from frontend.models.sources.export import export
from frontend.models.store import Store
from frontend.models.versions import converter_versions

PULLED = "pulled"  # the kind of such recipes
_GROWTH = {"ir": 0.0, "gguf": 1.1, "encoder": 0.6}  # bytes that are written for each byte of the source
_GROWTH_OF_EXPORTS = {"int4": 0.4, "int8": 0.6, "fp16": 1.1}


class Ingredients(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model before it is built."""

    name: str  # in the store
    source: str  # for people
    origin: Origin
    choice: Choice
    fingerprint: str  # of the files
    weight_format: str = ""  # of an export

    @property
    def recipe(self) -> Recipe:
        """What was not made by our converter is the same for all of its versions."""
        is_converted = self.choice.kind in ("gguf", "encoder")
        format_note = f" {self.weight_format}" if self.choice.kind == "export" else ""
        return Recipe(
            PULLED, self.name, f"{self.fingerprint}{format_note}", converter_versions() if is_converted else {}
        )


def growth(choice: Choice, weight_format: str, source_bytes: int) -> int:
    """About how many bytes will be written beside the source."""
    factor = _GROWTH.get(choice.kind) or _GROWTH_OF_EXPORTS.get(weight_format, 0.0)
    return int(source_bytes * (0.0 if choice.kind == "ir" else factor))


def check_whole(title: str, names: list[str], documents: Mapping[str, object]) -> None:
    """Raise ModelError unless these files are an IR folder that can be served, before they are fetched."""
    facts = FolderFacts(title, frozenset(names), dict(documents))
    check_servable(facts, recognize(facts))


def build(store: Store, made_of: Ingredients, files: Path, reporter: Reporter) -> Path:
    """The model's folder in the store, made of the fetched files. They stay. Raises ModelError."""
    choice, recipe = made_of.choice, made_of.recipe

    def convert(original: Path, folder: Path, report: Reporter) -> None:
        if choice.kind == "ir":
            share(files, folder, choice.files)
        elif choice.kind == "export":
            export(original, folder, made_of.weight_format, report)
        else:
            store.convert(original, folder, report)
            papers = [name for name in choice.files if is_paper(name)]
            share(files, folder, papers)
            if choice.main:  # so that another version of the converter needs no network
                kept = store.home(recipe) / SOURCE
                share(files, kept, [choice.main])

    original = files / choice.main if choice.main else files
    return store.ensure(
        recipe, made_of.source, lambda _: original, convert=convert, origin=made_of.origin
    )


def is_paper(name: str) -> bool:
    """Whether a file is a licence, or something else that people read."""
    return name.upper().startswith(("LICEN", "README", "NOTICE", "COPYING", "USE_POLICY"))


def share(source: Path, target: Path, names: list[str]) -> None:
    """A second name for each file where the file system has such, else a copy."""
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            os.link(source / name, place)
        except OSError:
            shutil.copyfile(source / name, place)


def refuse_taken(store: Store, name: str, source: str, catalogue: Mapping[str, object]) -> None:
    """Raise ModelError if another model has the name."""
    if name in catalogue:
        raise ModelError(f"{name} is a name of the catalogue; choose another one with --name")
    taken = store.installed_named(name)
    if taken and taken.name == name and taken.manifest.source != source:
        raise ModelError(
            f"the store has a model {name} from {taken.manifest.source}; choose another name with --name, or "
            f"remove it first: nacelle rm {name}"
        )
