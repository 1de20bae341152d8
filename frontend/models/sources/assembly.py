"""From fetched files to a model of the store: stored as they are, converted, or exported."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from frontend.models.errors import ModelError
from frontend.models.files import share
from frontend.models.folder import FolderFacts
from frontend.models.manifest import Origin, Recipe
from frontend.models.recognize import check_servable, recognize
from frontend.models.reporter import Reporter
from frontend.models.shelf import COPIES, PULLED, SOURCE, Installed
from frontend.models.sources.choice import Choice, Wish, choose
from frontend.models.sources.export import DEFAULT_WEIGHT_FORMAT, check_installed, export, export_task
from frontend.models.sources.transfer import Digest
from frontend.models.store import Store
from frontend.models.versions import converter_versions

# Small files from which it is seen what a folder holds.
DOCUMENTS = ("config.json", "modules.json", "model_index.json", "config_sentence_transformers.json")
# Bytes that are written beside the source, for each of its bytes.
_GROWTH = {"ir": 0.0, "gguf": 1.1, "encoder": 0.6}
_GROWTH_OF_EXPORTS = {"int4": 0.4, "int8": 0.6, "fp16": 1.1}


class Pulled(msgspec.Struct, frozen=True):
    """A model that the store has. `revision` is that of its source, empty if it states none."""

    name: str
    path: str
    source: str
    revision: str = ""


class Ingredients(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model before it is built."""

    name: str  # in the store
    source: str  # for people
    origin: Origin
    choice: Choice
    fingerprint: str  # of the files
    weight_format: str = DEFAULT_WEIGHT_FORMAT  # of an export

    @property
    def recipe(self) -> Recipe:
        """What our converter does not make is the same for all of its versions."""
        is_converted = self.choice.kind in ("gguf", "encoder")
        content = self.fingerprint
        if self.choice.kind == "export":
            content += f" {self.weight_format}"
        return Recipe(PULLED, self.name, content, converter_versions() if is_converted else {})

    @property
    def growth(self) -> int:
        """About how many bytes will be written beside the source."""
        factor = _GROWTH.get(self.choice.kind, _GROWTH_OF_EXPORTS.get(self.weight_format, 1.0))
        return int(self.origin.bytes * factor)

    def at(self, path: Path) -> Pulled:
        return Pulled(self.name, str(path), self.source, self.origin.revision)


def chosen(sizes: Mapping[str, int], documents: Mapping[str, object], wish: Wish, title: str) -> Choice:
    """The files that make a model, before they are fetched. Raises ModelError if it cannot be served."""
    config = documents.get("config.json")
    choice = choose(sizes, config if isinstance(config, dict) else {}, wish, title)
    facts = FolderFacts(title, frozenset(choice.files), dict(documents))
    if choice.kind == "export":
        choice = msgspec.structs.replace(choice, task=export_task(facts))
        check_installed(title)
    if choice.kind == "ir":
        check_servable(facts, recognize(facts))
    return choice


class Assembly:
    """Builds models in one store, in which each has a name of its own."""

    def __init__(self, store: Store, reporter: Reporter, catalogue: Mapping[str, object]) -> None:
        self.store, self.reporter, self._catalogue = store, reporter, catalogue

    def refuse_taken(self, name: str, source: str) -> None:
        """Raise ModelError if another model has the name."""
        if name in self._catalogue:
            raise ModelError(f"{name} is a name of the catalogue; choose another one with --name")
        taken = self.store.installed_named(name)
        if taken and taken.name == name and taken.manifest.source != source:
            raise ModelError(
                f"the store has a model {name} from {taken.manifest.source}; choose another name with "
                f"--name, or remove it first: nacelle rm {name}"
            )

    def find(self, made_of: Ingredients) -> Pulled | None:
        """The model if the store has it, under this name or another. Raises ModelError."""
        recipe = made_of.recipe
        taken = self.store.installed_named(made_of.name)
        if found := self.store.find(recipe) or self._same(recipe, made_of.name):
            if taken and taken.path != found:  # by another version of it, which was the newest
                self.store.renew(found)
            return made_of.at(found)
        if taken and taken.kind != COPIES:
            return None  # a copy would not replace it, but a new revision does
        for one in self.store.installed():
            if _is_same(one, recipe):
                origin = msgspec.structs.replace(made_of.origin, sha256=one.manifest.origin.sha256)
                return made_of.at(self.store.copy(one.name, made_of.name, made_of.source, origin).path)
        return None

    def _same(self, recipe: Recipe, name: str) -> Path | None:
        """The folder of a model that has the name already, but was made under another."""
        same = (one.path for one in self.store.installed() if one.name == name and _is_same(one, recipe))
        return next(same, None)

    def build(self, made_of: Ingredients, files: Path, sha256: Mapping[str, str]) -> Pulled:
        """The model made of the fetched files, which stay. Raises ModelError."""
        choice, recipe = made_of.choice, made_of.recipe
        if absent := [name for name in choice.files if not (files / name).is_file()]:
            raise ModelError(
                f"{made_of.source} lacks {', '.join(absent)}, which the model needs; pull it again"
            )

        def convert(original: Path, folder: Path, reporter: Reporter) -> None:
            if choice.kind == "ir":
                self._share(files, folder, choice.files)
            elif choice.kind == "export":
                export(original, folder, choice.task, made_of.weight_format, reporter)
            else:
                reporter.step(f"Converting {made_of.name} for OpenVINO")
                self.store.convert(original, folder, reporter)
            self._share(files, folder, [name for name in choice.files if _is_paper(name)])
            if choice.main:  # so that another version of the converter needs no network
                self._share(files, self.store.home(recipe) / SOURCE, [choice.main])

        origin = msgspec.structs.replace(made_of.origin, sha256=dict(sha256))
        original = files / choice.main if choice.main else files
        path = self.store.ensure(recipe, made_of.source, lambda _: original, convert=convert, origin=origin)
        return made_of.at(path)

    def reuse_source(self, made_of: Ingredients, digest: Digest | None, folder: Path) -> None:
        """Put the source there that was kept for another version of the converter, if it is the same."""
        main = made_of.choice.main
        one = self.store.installed_named(made_of.name)
        kept = self.store.home(made_of.recipe) / SOURCE
        known = one.manifest.origin.sha256.get(main) if one else None
        if digest and known == digest.value and (kept / main).is_file():
            self._share(kept, folder, [main])

    def _share(self, source: Path, target: Path, names: list[str]) -> None:
        for name in names:
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            share(self.store.root, source / name, place)


def _is_same(one: Installed, recipe: Recipe) -> bool:
    """Whether it was made by the recipe, under whatever name."""
    return msgspec.structs.replace(one.manifest.recipe, name=recipe.name) == recipe


def _is_paper(name: str) -> bool:
    """Whether a file is a licence, or something else that people read."""
    return name.upper().startswith(("LICEN", "README", "NOTICE", "COPYING", "USE_POLICY"))
