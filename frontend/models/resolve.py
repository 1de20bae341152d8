"""From a model's settings to a folder that a host can load: finds, fetches and converts as needed."""

import hashlib
import shutil
from pathlib import Path
from typing import cast

import msgspec

from frontend.config import ModelSettings
from frontend.config_sources import default_name
from frontend.config_values import expanded, suggestion
from frontend.machine.hardware import machine_name
from frontend.models.by_name import explain_unknown, find_by_name
from frontend.models.catalogue import CATALOGUE, Entry, load_catalogue, recipe_of
from frontend.models.converter import check
from frontend.models.errors import ModelError
from frontend.models.folder import FolderFacts, look_at
from frontend.models.manifest import Origin, Recipe, canonical
from frontend.models.named_files import looked_at, read_adapter, read_template
from frontend.models.options import REMOTE, adapted_name, engine_kind
from frontend.models.recognize import (
    SERVED,
    LibrarySetting,
    Recognized,
    TaskSetting,
    check_servable,
    recognize,
)
from frontend.models.reporter import Reporter
from frontend.models.root import store_root
from frontend.models.shelf import FILES, SOURCE
from frontend.models.store import Check, Store
from frontend.models.tuned import with_tuned
from frontend.models.versions import converter_versions
from frontend.shortened import quoted, shown_path
from ipc.conversion import HUGGING_FACE_FILES, HUGGING_FACE_TYPES
from ipc.ir import check_model, newer_writer
from ipc.messages import Adapter
from ipc.model_files import FOLDER, REGULAR, FileFault

_TEXT_ENGINES = ("text", "stateful")
_VOICE_ACTIVITY = "silero_vad.onnx"  # a model that finds speech
_CTRANSLATE2_FILES = {"config.json", "model.bin"}
_SOURCE_FILES = ("*.json", "*.txt", "1_Pooling/*.json", "model.safetensors", "model.bin", _VOICE_ACTIVITY)


class PreparedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model that a host can load."""

    settings: ModelSettings
    engine: str
    path: str = ""  # the IR folder; empty for the synthetic engine
    synthetic_tokens_per_second: float = 0.0  # of one request; 0 means as fast as it can
    draft_path: str = ""  # the draft model's IR folder; empty for none
    adapter: Adapter | None = None
    chat_template: str = ""  # its text, in place of the model's own; empty for that
    voice_activity_model: str = ""  # an ONNX file that finds speech; empty for none
    tuned: bool = False  # the settings hold what `nacelle tune` found


class Preparer:
    """Prepares models with one store, one catalogue and one reporter."""

    def __init__(
        self,
        store: Store,
        reporter: Reporter,
        catalogue: dict[str, Entry] | None = None,
        check: Check = check,
        *,
        tuned: bool = True,
    ) -> None:
        """`tuned`: models get what `nacelle tune` found for them."""
        self._store = store
        self._tuned = tuned
        self._check = check  # of a user's GGUF file before it is hashed, which may take minutes
        self._reporter = reporter
        self._catalogue = load_catalogue() if catalogue is None else catalogue

    def prepare(self, model: ModelSettings) -> PreparedModel:
        """The model without its adapters. Models in the store need no network.

        Raises ModelError, and ConfigError for a setting that names the wrong file.
        """
        template = read_template(model.chat_template) if model.chat_template else ""
        if (engine := engine_kind(model)) == "synthetic":
            rate = synthetic_rate(model.source)
            if model.draft_model:  # not used, but an error is one with any engine
                self._draft_folder(model)
            return PreparedModel(settings=model, engine=engine, synthetic_tokens_per_second=rate)
        if engine == REMOTE:
            return PreparedModel(settings=model, engine=engine)
        path = self._folder(model.source)
        given, model = model, self._with_tuned(model, path) if self._tuned else model
        if engine not in _TEXT_ENGINES and engine not in SERVED:  # one that knows its own folders
            return PreparedModel(settings=model, engine=engine, path=str(path))
        task = model.task if engine in _TEXT_ENGINES else cast(TaskSetting, engine)
        recognized = check_ir_folder(path, task, model.library, f"model {model.name!r}")
        if newer := newer_writer(path):
            self._reporter.note(
                f"{model.name} was written by OpenVINO {newer}, which is newer than the one here"
            )
        return PreparedModel(
            settings=model,
            engine=engine_kind(model, recognized.task),
            path=str(path),
            draft_path=str(self._draft_folder(model)) if model.draft_model else "",
            chat_template=template,
            voice_activity_model=self._voice_activity(path) if recognized.task == "transcription" else "",
            tuned=model is not given,
        )

    def prepare_all(self, model: ModelSettings) -> list[PreparedModel]:
        """The model, and another for each of its adapters, named MODEL:ADAPTER.

        Raises ModelError, and ConfigError for a setting that names the wrong file.
        """
        adapters = {name: read_adapter(model.name, name, text) for name, text in model.adapters.items()}
        base = self.prepare(model)
        return [base, *(_adapted(base, name, adapter) for name, adapter in adapters.items())]

    def has(self, source: str) -> bool:
        """Whether a model can be prepared without a network."""
        name = canonical(source)
        entry = self._catalogue.get(name)
        return entry is None or self._store.find(recipe_of(name, entry)) is not None

    def pull(self, name: str) -> Path:
        """Fetch and convert a model of the catalogue unless the store has it. Returns its IR folder.

        Raises ModelError.
        """
        if name not in self._catalogue:
            hint = suggestion(name, self._catalogue) or f"; it has {', '.join(self._catalogue)}"
            raise ModelError(f"the catalogue has no {quoted(name)}{hint}")
        entry = self._catalogue[name]
        recipe = recipe_of(name, entry)
        hashes = {file.name: file.sha256 for file in entry.files}
        origin = Origin(kind=CATALOGUE, licence=entry.licence, sha256=hashes, bytes=entry.bytes)
        return self._store.ensure(
            recipe, name, lambda scratch: self._fetched(entry, recipe, scratch), origin=origin
        )

    def folder(self, source: str) -> Path:
        """The IR folder of a model setting's source, converted if need be. Raises ModelError."""
        return self._folder(source, "SOURCE")

    def _with_tuned(self, model: ModelSettings, folder: Path) -> ModelSettings:
        """The settings with what was found for this device and machine; the same object without that."""
        tuned = self._store.learned(folder).tuned
        if tuned is None or tuned.device not in ("", model.device):
            return model
        if tuned.machine not in ("", machine_name()):
            self._reporter.note(f"{model.name} was tuned on another machine; nacelle tune measures this one")
            return model
        if (draft := tuned.settings.get("draft_model")) and not model.draft_model:
            try:
                if not self.has(str(draft)):  # nobody asked for a download
                    raise ModelError(f"get it with nacelle pull {draft}")
                self._draft_folder(msgspec.structs.replace(model, draft_model=str(draft)))
            except ModelError as error:
                self._reporter.note(f"{model.name} was tuned with a draft model that is gone: {error}")
                tuned = msgspec.structs.replace(tuned, settings={})
        return with_tuned(model, tuned)

    def _draft_folder(self, model: ModelSettings) -> Path:
        draft = model.draft_model or ""
        path = self._folder(draft, "--draft-model")
        if (task := check_ir_folder(path, called=f"the draft model of {model.name!r}").task) != "text":
            raise ModelError(f"the draft model {draft} must be a text model, but its task is {task}")
        return path

    def _voice_activity(self, folder: Path) -> str:
        """The model that finds speech: the folder's own, or one that is in the store. Nothing is fetched."""
        entries = [(name, entry) for name, entry in self._catalogue.items() if _holds_voice_activity(entry)]
        stored = [self._store.find(recipe_of(name, entry)) for name, entry in entries]
        places = [folder, *(place for place in stored if place is not None)]
        files = [place / _VOICE_ACTIVITY for place in places]
        return next((str(file) for file in files if file.is_file()), "")

    def _folder(self, source: str, setting: str = "MODEL") -> Path:
        if canonical(source) in self._catalogue:  # even if a file has this name; ./smollm2 means the file
            return self.pull(canonical(source))
        path = expanded(source, setting)
        try:
            kind = looked_at(path)
        except FileFault as fault:
            raise ModelError(f"{fault}; correct {setting}") from fault
        if kind == FOLDER:
            facts = look_at(path)
            return self._converted_folder(path.absolute()) if _is_convertible(facts) else path.resolve()
        if kind == REGULAR:
            return self._converted_gguf(path.absolute())
        if kind:
            raise ModelError(f"{shown_path(path)} is {kind}; it must be a regular file or a folder")
        return self._from_store(source)

    def _from_store(self, name: str) -> Path:
        found = find_by_name(self._store, name, converter_versions(), self._reporter)
        if found is None:
            raise ModelError(explain_unknown(name, self._catalogue, self._store))
        path, is_ready = found
        return path if is_ready else self._folder(str(path))

    def _converted_gguf(self, gguf: Path) -> Path:
        try:
            if not self._store.digests.knows(gguf):
                self._check(gguf)
            digest = self._store.digests.sha256(gguf)
        except OSError as error:
            raise ModelError(f"cannot read {gguf}: {error.strerror}") from error
        recipe = Recipe(FILES, default_name(gguf.name), digest, converter_versions())
        origin = Origin(kind="file", sha256={gguf.name: digest}, bytes=gguf.stat().st_size)
        return self._store.ensure(recipe, str(gguf), lambda _: gguf, origin=origin)

    def _converted_folder(self, folder: Path) -> Path:
        """Convert a folder like those on Hugging Face's hub."""
        try:
            files = sorted(
                path for pattern in _SOURCE_FILES for path in folder.glob(pattern) if path.is_file()
            )
            hashes = {str(file.relative_to(folder)): self._store.digests.sha256(file) for file in files}
            size = sum(file.stat().st_size for file in files)
        except OSError as error:
            raise ModelError(f"cannot read {folder}: {error.strerror}") from error
        listed = "".join(f"{digest}  {name}\n" for name, digest in hashes.items())
        digest = hashlib.sha256(listed.encode()).hexdigest()
        recipe = Recipe(FILES, default_name(folder.name), digest, converter_versions())
        origin = Origin(kind="folder", sha256=hashes, bytes=size)
        return self._store.ensure(recipe, str(folder), lambda _: folder, origin=origin)

    def _fetched(self, entry: Entry, recipe: Recipe, scratch: Path) -> Path:
        """The entry's only file, or the folder of its files.

        They are kept beside their conversions, so that a new converter needs no network.
        """
        from frontend.models.sources.catalogue_files import (  # http.client and ssl are slow to import
            fetch,
            is_whole,
        )

        kept = self._store.home(recipe) / SOURCE
        if not is_whole(entry, kept):
            with self._store.downloading(entry.sha256) as parts:
                fetched = fetch(entry, scratch, self._reporter, parts=parts)
                shutil.rmtree(kept, ignore_errors=True)
                fetched.rename(kept)
        return kept / entry.files[0].name if len(entry.files) == 1 else kept


def _adapted(base: PreparedModel, name: str, adapter: Adapter) -> PreparedModel:
    settings = msgspec.structs.replace(base.settings, name=adapted_name(base.settings, name))
    return msgspec.structs.replace(base, settings=settings, adapter=adapter)


def preparer_for(store: str | None, reporter: Reporter, *, tuned: bool = True) -> Preparer:
    """A Preparer with the built-in catalogue and the store of the `store` setting."""
    return Preparer(Store(store_root(store), reporter), reporter, tuned=tuned)


def synthetic_rate(source: str) -> float:
    """The tokens per second of `synthetic[:TOKENS_PER_SECOND]`. Raises ModelError."""
    _, colon, text = source.partition(":")
    try:
        rate = float(text) if colon else 0.0
    except ValueError:
        rate = -1.0
    if not 0 <= rate < float("inf"):
        raise ModelError(f"{quoted(source)}: write synthetic or synthetic:TOKENS_PER_SECOND")
    return rate


def check_ir_folder(
    folder: Path, task: TaskSetting = "auto", library: LibrarySetting = "auto", called: str = "the model"
) -> Recognized:
    """What the folder holds. Raises ModelError, naming the reason, if it cannot be served.

    `called` names the model in errors about its files.
    """
    facts = look_at(folder)
    recognized = recognize(facts, task, library)
    check_servable(facts, recognized)
    try:
        check_model(folder, recognized.task, recognized.library)
    except FileFault as error:
        raise ModelError(f"{called} could not be loaded: {error}") from error
    return recognized


def _holds_voice_activity(entry: Entry) -> bool:
    return any(file.name == _VOICE_ACTIVITY for file in entry.files)


def _is_convertible(facts: FolderFacts) -> bool:
    if any(name.startswith("openvino_") for name in facts.files):
        return False
    known = facts.document("config.json").get("model_type") in HUGGING_FACE_TYPES
    return (known and facts.files >= HUGGING_FACE_FILES) or facts.files >= _CTRANSLATE2_FILES
