"""From a model's settings to what a host can load: finds the source, fetches and converts where needed."""

from pathlib import Path

import msgspec

from frontend.config import ModelSettings
from frontend.config_sources import default_name
from frontend.config_values import suggestion
from frontend.models.catalogue import Entry, load_catalogue
from frontend.models.digests import sha256_of
from frontend.models.errors import ModelError
from frontend.models.options import adapted_name, adapter_of, engine_kind
from frontend.models.reporter import Reporter
from frontend.models.sources import fetch
from frontend.models.store import Recipe, Store, converter_versions
from ipc.messages import Adapter

_GGUF_MAGIC = b"GGUF"
_MODELS = ("openvino_model.xml", "openvino_language_model.xml")
_TOKENIZERS = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")


class PreparedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a host can load at once."""

    settings: ModelSettings
    engine: str
    path: str = ""  # the IR folder; empty for the synthetic engine
    synthetic_tokens_per_second: float = 0.0  # of one request; 0 means as fast as it can
    draft_path: str = ""  # the draft model's IR folder; empty for none
    adapter: Adapter | None = None
    chat_template: str = ""  # its text, in place of the model's own; empty for that


class Preparer:
    """Prepares models with one store, one catalogue and one way to report."""

    def __init__(self, store: Store, reporter: Reporter, catalogue: dict[str, Entry] | None = None) -> None:
        self._store = store
        self._reporter = reporter
        self._catalogue = load_catalogue() if catalogue is None else catalogue

    def prepare(self, model: ModelSettings) -> PreparedModel:
        """The model without its adapters. Raises ModelError. What is in the store needs no network."""
        engine = engine_kind(model)
        if engine == "synthetic":
            rate = synthetic_rate(model.source)
            return PreparedModel(settings=model, engine=engine, synthetic_tokens_per_second=rate)
        return PreparedModel(
            settings=model,
            engine=engine,
            path=str(self._folder(model.source)),
            draft_path=str(self._folder(model.draft_model)) if model.draft_model else "",
            chat_template=_read_template(model.chat_template) if model.chat_template else "",
        )

    def prepare_all(self, model: ModelSettings) -> list[PreparedModel]:
        """The model, and one more for each of its adapters, named MODEL:ADAPTER. Raises ModelError."""
        base = self.prepare(model)
        return [base, *(_adapted(base, name, text) for name, text in model.adapters.items())]

    def pull(self, name: str) -> Path:
        """Make sure that the store holds a catalogue's model. Returns its IR folder. Raises ModelError."""
        if name not in self._catalogue:
            raise ModelError(f"the catalogue has no {name!r}{suggestion(name, self._catalogue)}")
        entry = self._catalogue[name]
        recipe = recipe_of(name, entry)
        return self._store.ensure(recipe, name, lambda scratch: self._fetched(entry, recipe, scratch))

    def _folder(self, source: str) -> Path:
        if source in self._catalogue:  # also where a file has the same name: ./smollm2 is that file
            return self.pull(source)
        path = Path(source).expanduser()
        if path.is_dir():
            check_ir_folder(path)
            return path.resolve()
        if path.is_file():
            return self._converted(path.absolute())
        raise ModelError(
            f"no model {source!r}{suggestion(source, self._catalogue)} "
            f"(the catalogue has {', '.join(self._catalogue)}; a path must exist)"
        )

    def _converted(self, gguf: Path) -> Path:
        try:
            with gguf.open("rb") as file:
                magic = file.read(len(_GGUF_MAGIC))
            if magic != _GGUF_MAGIC:
                raise ModelError(f"{gguf} is not a GGUF file")
            digest = self._store.digests.sha256(gguf)
        except OSError as error:
            raise ModelError(f"cannot read {gguf}: {error.strerror}") from error
        recipe = Recipe("files", default_name(gguf.name), digest, converter_versions())
        return self._store.ensure(recipe, str(gguf), lambda _: gguf)

    def _fetched(self, entry: Entry, recipe: Recipe, scratch: Path) -> Path:
        """The entry's GGUF, kept beside its conversions, so that a new converter needs no network."""
        kept = self._store.home(recipe) / entry.file
        if not (kept.exists() and sha256_of(kept) == entry.sha256):
            fetch(entry, scratch, self._reporter).replace(kept)
        return kept


def _adapted(base: PreparedModel, name: str, text: str) -> PreparedModel:
    adapter = adapter_of(text)
    file = Path(adapter.path).expanduser().absolute()
    if not file.is_file():
        raise ModelError(f"adapter {name!r} of {base.settings.name!r}: no file {file}")
    return msgspec.structs.replace(
        base,
        settings=msgspec.structs.replace(base.settings, name=adapted_name(base.settings, name)),
        adapter=Adapter(str(file), adapter.alpha),
    )


def _read_template(path: str) -> str:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"cannot read the chat template {path}: {error}") from error
    if not text.strip():
        raise ModelError(f"the chat template {path} is empty")
    return text


def preparer_for(store: str | None, reporter: Reporter) -> Preparer:
    """A Preparer with the built-in catalogue and the store of the `store` setting."""
    return Preparer(Store(store_root(store), reporter), reporter)


def recipe_of(name: str, entry: Entry) -> Recipe:
    """What the store knows a catalogue entry by."""
    return Recipe("catalogue", name, entry.sha256, converter_versions(), entry.generation)


def store_root(configured: str | None) -> Path:
    """The store's folder: the configured one, else a folder of the user's data."""
    if configured is not None:
        return Path(configured).expanduser()
    import platformdirs  # slow to import, and not needed where the store is configured

    return Path(platformdirs.user_data_dir("nacelle", appauthor=False))


def synthetic_rate(source: str) -> float:
    """The tokens per second of `synthetic[:TOKENS_PER_SECOND]`. Raises ModelError."""
    _, colon, text = source.partition(":")
    try:
        rate = float(text) if colon else 0.0
    except ValueError:
        rate = -1.0
    if not 0 <= rate < float("inf"):
        raise ModelError(f"{source!r}: write synthetic or synthetic:TOKENS_PER_SECOND")
    return rate


def check_ir_folder(folder: Path) -> None:
    """Raise ModelError, naming what is missing, unless a text model's IR and tokenizer are in `folder`."""
    try:
        present = {file.name for file in folder.iterdir()}
    except OSError as error:
        raise ModelError(f"cannot read {folder}: {error.strerror}") from error
    model = next((name for name in _MODELS if name in present), None)
    wanted = [model or _MODELS[0], *_TOKENIZERS]
    missing = [
        name for xml in wanted for name in (xml, xml.removesuffix(".xml") + ".bin") if name not in present
    ]
    if missing:
        raise ModelError(
            f"{folder} is not an IR folder that can be served: it lacks {', '.join(missing)}{_hint(present)}"
        )


def _hint(present: set[str]) -> str:
    if ggufs := sorted(name for name in present if name.endswith(".gguf")):
        return f"; to serve the GGUF file in it, name that file: {ggufs[0]}"
    if any(name.endswith(".safetensors") for name in present):
        return "; convert it first with: optimum-cli export openvino --model FOLDER IR_FOLDER"
    return ""
