"""Pulls models into the store from wherever they are. What was downloaded is kept until a pull succeeds."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from frontend.config_sources import default_name, no_such_path
from frontend.config_values import expanded
from frontend.models.catalogue import Entry
from frontend.models.errors import ModelError, SourceError, store_remedy
from frontend.models.manifest import Origin, canonical
from frontend.models.reporter import Reporter
from frontend.models.resolve import Preparer
from frontend.models.sources.archives import is_archive
from frontend.models.sources.asked import PullOptions, checked_source, path_exists
from frontend.models.sources.assembly import Assembly, Pulled
from frontend.models.sources.choice import Wish, quantization_of
from frontend.models.sources.hub import Hub
from frontend.models.sources.listed import key_of, pull_listed
from frontend.models.sources.remote import list_remote
from frontend.models.sources.retries import LOOK_TRIES, Patience, Sleep, Unreachable, nap, patiently
from frontend.models.sources.single import is_gguf, pull_archive, pull_folder, pull_single, pull_web
from frontend.models.sources.spec import (
    CatalogueName,
    HubRepository,
    LocalPath,
    RemotePath,
    Source,
    WebFile,
    file_name,
)
from frontend.models.store import Store
from frontend.shortened import shown_source, without_secrets

_OFFLINE = (
    "; check the network, or set HF_ENDPOINT to a mirror; a model that was fetched elsewhere is pulled as a "
    "file or folder: nacelle pull ./FOLDER"
)
_DEFAULTS = PullOptions()


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
        self._assembly = Assembly(store, reporter, catalogue)
        self._sleep = sleep

    def pull(self, text: str, options: PullOptions = _DEFAULTS) -> Pulled:
        """The model of this source, fetched and converted unless the store has it. Raises ModelError."""
        source = checked_source(text, options, self._catalogue)
        options = msgspec.structs.replace(options, name=canonical(options.name))
        try:
            return self._pulled(source, options)
        except SourceError as error:
            remedy = _OFFLINE if isinstance(error.__cause__, Unreachable) else ""
            why = without_secrets(str(error), text)
            raise ModelError(f"cannot pull {shown_source(text)}: {why}{remedy}") from error
        except OSError as error:
            why = without_secrets(error.strerror or str(error), text)
            raise ModelError(f"cannot pull {shown_source(text)}: {why}; {store_remedy(error)}") from error

    def _pulled(self, source: Source, options: PullOptions) -> Pulled:
        match source:
            case CatalogueName():
                path = self._preparer.pull(source.name)
                return self._renamed(Pulled(source.name, str(path), source.name), options.name)
            case LocalPath():
                return self._local(source, options)
            case HubRepository():
                return self._repository(source, options)
            case RemotePath():
                return self._remote(source, options)
            case WebFile():
                name = options.name or default_name(file_name(source.url))
                return pull_web(self._assembly, source, name, _wish(options), self._sleep)

    def _repository(self, source: HubRepository, options: PullOptions) -> Pulled:
        if options.revision:
            source = msgspec.structs.replace(source, revision=options.revision)
        name = options.name or _hub_name(source)
        self._reporter.step(f"Looking for {source}")
        try:
            listing = Hub(Patience(LOOK_TRIES, self._sleep)).listing(source, self._reporter.note)
        except SourceError as error:
            stored = self._store.installed_named(name)
            if stored is None or stored.manifest.source != str(source):
                raise
            self._reporter.note(f"{error}; using the model in the store")
            return Pulled(name, str(stored.path), str(source), stored.manifest.origin.revision)
        wish = _wish(options, source.choice)
        return pull_listed(self._assembly, listing, name, str(source), "hub", wish, self._sleep)

    def _remote(self, source: RemotePath, options: PullOptions) -> Pulled:
        url, sleep = source.url, self._sleep
        self._reporter.step(f"Looking for {source}")
        listing = patiently(lambda: list_remote(url), self._reporter.note, Patience(LOOK_TRIES, sleep))
        name = options.name or default_name(file_name(url))
        if len(listing.files) == 1:
            (file,) = listing.files.values()
            return pull_single(self._assembly, url, file, name, _wish(options), sleep)
        return pull_listed(self._assembly, listing, name, str(source), "remote", _wish(options), sleep)

    def _local(self, source: LocalPath, options: PullOptions) -> Pulled:
        path = expanded(source.path, "SOURCE").absolute()
        name = options.name or default_name(path.name)
        if not path_exists(str(path)):
            raise ModelError(no_such_path(source.path))
        if path.is_file() and not is_gguf(path) and is_archive(path):
            return self._local_archive(path, name, options)
        if path.is_file() and (options.weight_format or options.pattern):
            raise ModelError(f"{path.name} is a single file; leave --weight-format and --file out")
        if not options.weight_format and not options.pattern:
            found = self._preparer.folder(str(path))  # converts what our converter can
            if found.resolve() != path.resolve():
                return self._renamed(Pulled(default_name(path.name), str(found), str(path)), options.name)
        origin = Origin(kind="folder")
        return pull_folder(self._assembly, path, str(path), name, _wish(options), origin)

    def _local_archive(self, path: Path, name: str, options: PullOptions) -> Pulled:
        digest = self._store.digests.sha256(path)
        origin = Origin(kind="file", bytes=path.stat().st_size, sha256={path.name: digest})
        with self._store.downloading(key_of("file", digest)) as area:
            linked = area / path.name
            linked.unlink(missing_ok=True)
            linked.symlink_to(path)
            wish = _wish(options)
            return pull_archive(self._assembly, linked, str(path), name, wish, origin, digest)

    def _renamed(self, pulled: Pulled, wanted: str) -> Pulled:
        """The model under the name that is wanted, if any."""
        if not wanted or canonical(wanted) == pulled.name:
            return pulled
        copy = self._store.copy(pulled.name, wanted)
        return msgspec.structs.replace(pulled, name=copy.name, path=str(copy.path))


def _wish(options: PullOptions, choice: str = "") -> Wish:
    return Wish(choice, options.pattern, options.weight_format)


def _hub_name(source: HubRepository) -> str:
    """As other servers name it: ORG/NAME, or ORG/NAME:QUANT."""
    tag = source.choice
    if "." in tag:  # a file
        tag = quantization_of(tag) or default_name(tag)
    return f"{source.repository}:{tag}" if tag else source.repository
