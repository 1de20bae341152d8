"""Pulls models into the store from wherever they are. What was downloaded is kept until a pull succeeds."""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import msgspec

from frontend.config import NAME_CHARACTERS
from frontend.config_sources import default_name
from frontend.config_values import expanded
from frontend.models.catalogue import Entry
from frontend.models.errors import ModelError, SourceError
from frontend.models.manifest import Origin, canonical
from frontend.models.reporter import Reporter
from frontend.models.resolve import Preparer
from frontend.models.sources.archives import is_archive, unpack
from frontend.models.sources.assembly import Ingredients, build, check_whole, growth, refuse_taken
from frontend.models.sources.choice import Choice, Wish, choose
from frontend.models.sources.export import DEFAULT_WEIGHT_FORMAT, check_installed
from frontend.models.sources.fetching import fetch_listing
from frontend.models.sources.hub import Hub, hub_host
from frontend.models.sources.listing import Listed, Listing
from frontend.models.sources.local import documents_of, fingerprint_of, sizes_of
from frontend.models.sources.remote import list_remote
from frontend.models.sources.retries import Patience, Sleep, nap, patiently
from frontend.models.sources.spec import (
    CatalogueName,
    HubRepository,
    LocalPath,
    RemotePath,
    Source,
    WebFile,
    parse_source,
)
from frontend.models.sources.transfer import Digest, Expected, Received, transfer
from frontend.models.sources.web import open_url
from frontend.models.store import Store
from frontend.shortened import quoted

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]*\Z")
_FILES, _FILE, _UNPACKED = "files", "file", "unpacked"  # in the folder of a download
_DOCUMENTS = ("config.json", "modules.json", "model_index.json", "config_sentence_transformers.json")
_GGUF = b"GGUF"


class PullOptions(msgspec.Struct, frozen=True):
    """What may be said beside the source. Empty: our choice."""

    name: str = ""
    revision: str = ""  # of a hub's repository
    pattern: str = ""  # of file names
    weight_format: str = ""  # of an export
    local: bool = True  # whether paths of this machine are allowed


class Pulled(msgspec.Struct, frozen=True):
    """A model that the store has."""

    name: str
    path: str
    source: str
    revision: str = ""


class Puller:
    """Pulls with one store, one catalogue and one reporter."""

    def __init__(
        self,
        store: Store,
        preparer: Preparer,
        reporter: Reporter,
        catalogue: Mapping[str, Entry],
        sleep: Sleep = nap,
    ) -> None:
        self._store, self._preparer, self._reporter = store, preparer, reporter
        self._catalogue = catalogue
        self._sleep = sleep

    def pull(self, text: str, options: PullOptions = PullOptions()) -> Pulled:
        """The model of this source, which is fetched and converted unless the store has it. Raises ModelError."""
        source = parse_source(text, self._catalogue, _exists if options.local else _never, hub_host())
        if isinstance(source, LocalPath) and not options.local:
            raise ModelError(f"{quoted(text)} is a path of this machine, which cannot be named here")
        _check_options(source, options)
        try:
            return self._pulled(source, options)
        except SourceError as error:
            raise ModelError(f"cannot pull {text}: {error}") from error

    def _pulled(self, source: Source, options: PullOptions) -> Pulled:
        match source:
            case CatalogueName():
                path = self._preparer.pull(source.name)
                return self._named(source.name, path, source.name, options.name)
            case LocalPath():
                return self._local(source, options)
            case HubRepository():
                return self._repository(source, options)
            case RemotePath():
                return self._remote(source, options)
            case WebFile():
                return self._web(source, options)

    # --- repositories and remote folders ---------------------------------------------------------------------

    def _repository(self, source: HubRepository, options: PullOptions) -> Pulled:
        if options.revision:
            source = msgspec.structs.replace(source, revision=options.revision)
        name = options.name or _hub_name(source)
        self._reporter.step(f"Looking for {source}")
        patience = Patience(sleep=self._sleep)
        try:
            listing = Hub(patience).listing(source, self._reporter.note)
        except SourceError as error:
            stored = self._store.installed_named(name)
            if stored is None or stored.manifest.source != str(source):
                raise
            self._reporter.note(f"{error}; the store has it")
            return _pulled(name, stored.path, str(source), stored.manifest.origin.revision)
        return self._listed(listing, source, name, Wish(source.choice, options.pattern, options.weight_format))

    def _remote(self, source: RemotePath, options: PullOptions) -> Pulled:
        self._reporter.step(f"Looking for {source}")
        listing = patiently(
            lambda: list_remote(source.url), self._reporter.note, Patience(sleep=self._sleep)
        )
        name = options.name or default_name(source.url.rstrip("/"))
        if len(listing.files) == 1 and not source.url.endswith(".gguf"):
            (file,) = listing.files.values()
            return self._downloaded(source.url, file, name, options)
        return self._listed(listing, source, name, Wish("", options.pattern, options.weight_format))

    def _listed(self, listing: Listing, source: Source, name: str, wish: Wish) -> Pulled:
        refuse_taken(self._store, name, str(source), self._catalogue)
        key = _key("listed", listing.title, listing.revision, *msgspec.structs.astuple(wish))
        with self._store.downloading(key) as area:
            folder = area / _FILES
            documents = self._documents(listing, folder)
            config = documents.get("config.json", {})
            choice = choose(listing.sizes, config if isinstance(config, dict) else {}, wish, listing.title)
            weight_format = wish.weight_format or DEFAULT_WEIGHT_FORMAT
            if choice.kind == "export":
                check_installed(listing.title)
            if choice.kind == "ir":
                check_whole(listing.title, choice.files, documents)
            size = sum(listing.files[each].size for each in choice.files)
            made_of = Ingredients(
                name=name,
                source=str(source),
                origin=Origin(
                    kind="hub" if isinstance(source, HubRepository) else "remote",
                    revision=listing.revision,
                    licence=listing.licence,
                    bytes=size,
                ),
                choice=choice,
                fingerprint=listing.fingerprint(choice.files),
                weight_format=weight_format,
            )
            if found := self._found(made_of):
                return found
            self._reporter.step(f"Fetching {listing.title}" + (f" ({choice.main})" if choice.main else ""))
            digests = fetch_listing(
                listing,
                choice.files,
                folder,
                self._reporter,
                more_bytes=growth(choice, weight_format, size),
                sleep=self._sleep,
            )
            return self._built(made_of, folder, digests)

    def _documents(self, listing: Listing, folder: Path) -> dict[str, object]:
        """The small files from which it is seen what a repository holds."""
        names = [name for name in _DOCUMENTS if name in listing.files]
        if names:
            fetch_listing(listing, names, folder, self._reporter, sleep=self._sleep)
        return documents_of(folder, names)

    # --- single files on the web --------------------------------------------------------------------------------

    def _web(self, source: WebFile, options: PullOptions) -> Pulled:
        name = options.name or default_name(unquote(urlsplit(source.url).path))
        refuse_taken(self._store, name, source.url, self._catalogue)
        open_at = open_url(source.url, html=False)
        self._reporter.step(f"Looking for {source.url}")
        if found := self._unchanged(source, name, open_at):
            return found
        digest = Digest("sha256", source.sha256) if source.sha256 else None
        return self._downloaded(source.url, Listed(0, Expected(digest=digest), open_at), name, options)

    def _unchanged(self, source: WebFile, name: str, open_at: object) -> Pulled | None:
        """The stored model, if the file at the URL is the one that it was made from."""
        stored = self._store.installed_named(name)
        if stored is None or stored.manifest.source != source.url or not stored.is_current:
            return None
        origin = stored.manifest.origin
        if source.sha256:
            return (
                _pulled(name, stored.path, source.url, origin.revision)
                if source.sha256 in origin.sha256.values()
                else None
            )

        def ask() -> str:
            with open_url(source.url, html=False)(0, "") as opened:
                return opened.validator

        validator = patiently(ask, self._reporter.note, Patience(sleep=self._sleep))
        is_same = bool(validator) and validator == origin.revision
        return _pulled(name, stored.path, source.url, validator) if is_same else None

    def _downloaded(self, url: str, file: Listed, name: str, options: PullOptions) -> Pulled:
        """A GGUF file, or an archive of one or of a model folder."""
        with self._store.downloading(_key("url", url, file.expected.identity)) as area:
            self._reporter.step(f"Fetching {url}")
            target = area / _FILE
            received = transfer(
                file.open,
                target,
                file.expected,
                _Growing(self._reporter, file),
                Patience(sleep=self._sleep),
                self._reporter.note,
                PurePosixPath(urlsplit(url).path).name or url,
            )
            return self._opened(target, received, url, name, options)

    def _opened(self, file: Path, received: Received, url: str, name: str, options: PullOptions) -> Pulled:
        origin = Origin(kind="url", revision=received.validator, bytes=file.stat().st_size)
        if _begins_with(file, _GGUF):
            if options.weight_format:
                raise ModelError(f"{url} is a GGUF file, which keeps its weights; leave --weight-format out")
            stem = PurePosixPath(urlsplit(url).path).stem
            folder = file.parent / _FILES
            folder.mkdir(exist_ok=True)
            main = f"{default_name(stem)}.gguf"
            (folder / main).unlink(missing_ok=True)
            (folder / main).hardlink_to(file)
            choice = Choice("gguf", [main], main)
            made_of = Ingredients(
                name=name, source=url, origin=origin, choice=choice, fingerprint=received.sha256
            )
            return self._found(made_of) or self._built(made_of, folder, {main: received.sha256})
        if not is_archive(file):
            raise SourceError("it is neither a GGUF file nor an archive (zip, tar)")
        unpacked = file.parent / _UNPACKED
        shutil.rmtree(unpacked, ignore_errors=True)
        self._reporter.step(f"Unpacking {PurePosixPath(urlsplit(url).path).name}")
        folder = unpack(file, unpacked)
        return self._folder(folder, url, name, options, origin, received.sha256)

    # --- local files and folders --------------------------------------------------------------------------------

    def _local(self, source: LocalPath, options: PullOptions) -> Pulled:
        path = expanded(source.path, "SOURCE").absolute()
        name = options.name or default_name(str(path))
        if path.is_file() and not _begins_with(path, _GGUF) and is_archive(path):
            refuse_taken(self._store, name, str(path), self._catalogue)
            digest = self._store.digests.sha256(path)
            with self._store.downloading(_key("file", digest)) as area:
                self._reporter.step(f"Unpacking {path.name}")
                shutil.rmtree(area / _UNPACKED, ignore_errors=True)
                folder = unpack(path, area / _UNPACKED)
                origin = Origin(kind="file", bytes=path.stat().st_size)
                return self._folder(folder, str(path), name, options, origin, digest)
        found = self._preparer.folder(str(path))  # converts what our converter can
        if found.resolve() != path.resolve():
            return self._named(default_name(str(path)), found, str(path), options.name)
        refuse_taken(self._store, name, str(path), self._catalogue)
        return self._folder(path, str(path), name, options, Origin(kind="folder"))

    def _folder(
        self, folder: Path, source: str, name: str, options: PullOptions, origin: Origin, digest: str = ""
    ) -> Pulled:
        """A folder of this machine. `digest` is that of the archive that it comes from."""
        sizes = sizes_of(folder)
        documents = documents_of(folder, [name for name in _DOCUMENTS if name in sizes])
        config = documents.get("config.json", {})
        wish = Wish("", options.pattern, options.weight_format)
        choice = choose(sizes, config if isinstance(config, dict) else {}, wish, source)
        weight_format = options.weight_format or DEFAULT_WEIGHT_FORMAT
        if choice.kind == "export":
            check_installed(source)
        if choice.kind == "ir":
            check_whole(source, choice.files, documents)
        hashes = {} if digest else fingerprint_of(folder, choice.files, self._store.digests.sha256)
        size = sum(sizes[each] for each in choice.files)
        made_of = Ingredients(
            name=name,
            source=source,
            origin=msgspec.structs.replace(origin, bytes=origin.bytes or size),
            choice=choice,
            fingerprint=digest or _key(*(f"{value}  {key}" for key, value in hashes.items())),
            weight_format=weight_format,
        )
        return self._found(made_of) or self._built(made_of, folder, hashes)

    # --- the store ---------------------------------------------------------------------------------------------

    def _found(self, made_of: Ingredients) -> Pulled | None:
        """The model if the store has it, under this name or another."""
        recipe = made_of.recipe
        if found := self._store.find(recipe):
            return _pulled(made_of.name, found, made_of.source, made_of.origin.revision)
        for one in self._store.installed():
            same = one.manifest.recipe
            if same.kind == recipe.kind and (same.sha256, same.converters) == (recipe.sha256, recipe.converters):
                path = one.path
                if one.name != made_of.name:
                    path = self._store.copy(one.name, made_of.name).path
                return _pulled(made_of.name, path, made_of.source, made_of.origin.revision)
        return None

    def _built(self, made_of: Ingredients, folder: Path, digests: Mapping[str, str]) -> Pulled:
        origin = msgspec.structs.replace(made_of.origin, sha256=dict(digests))
        made_of = msgspec.structs.replace(made_of, origin=origin)
        path = build(self._store, made_of, folder, self._reporter)
        return _pulled(made_of.name, path, made_of.source, origin.revision)

    def _named(self, name: str, path: Path, source: str, wanted: str) -> Pulled:
        """A model under the name that is wanted, if any."""
        if wanted and canonical(wanted) != name:
            path = self._store.copy(name, wanted).path
        return _pulled(wanted or name, path, source, "")


class _Growing:
    """Reports the bytes of a file whose size may be unknown."""

    def __init__(self, reporter: Reporter, file: Listed) -> None:
        self._reporter, self._total = reporter, file.size or None

    def __call__(self, done: int) -> None:
        self._reporter.progress(done, self._total)


def _pulled(name: str, path: Path, source: str, revision: str) -> Pulled:
    return Pulled(name, str(path), source, revision)


def _hub_name(source: HubRepository) -> str:
    """As other servers name it: ORG/NAME, or ORG/NAME:QUANT."""
    from frontend.models.sources.choice import quantization_of

    tag = source.choice
    if "." in tag:  # a file
        tag = quantization_of(tag) or default_name(tag)
    return f"{source.repository}:{tag}" if tag else source.repository


def _check_options(source: Source, options: PullOptions) -> None:
    if options.name and (len(options.name) > NAME_CHARACTERS or not _NAME.match(options.name)):
        raise ModelError(f"--name: {quoted(options.name)} is no name; use letters, digits and ._:@+/-")
    if options.revision and not isinstance(source, HubRepository):
        raise ModelError("--revision is for repositories of a model hub; leave it out")
    unchosen = isinstance(source, CatalogueName)
    if unchosen and (options.pattern or options.weight_format):
        raise ModelError("--file and --weight-format are not for models of the catalogue; leave them out")


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _never(_: str) -> bool:
    return False


def _begins_with(file: Path, mark: bytes) -> bool:
    with file.open("rb") as content:
        return content.read(len(mark)) == mark


Exists = Callable[[str], bool]
