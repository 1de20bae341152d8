"""Pulls a model from a single file: a GGUF file, or an archive of a model folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from frontend.config_sources import default_name
from frontend.models.errors import ModelError, SourceError
from frontend.models.manifest import Origin
from frontend.models.sources.archives import is_archive, unpack
from frontend.models.sources.assembly import DOCUMENTS, Assembly, Ingredients, Pulled, chosen
from frontend.models.sources.choice import Choice, Wish
from frontend.models.sources.export import DEFAULT_WEIGHT_FORMAT
from frontend.models.sources.listed import key_of
from frontend.models.sources.listing import Listed
from frontend.models.sources.local import documents_of, hashes_of, sizes_of
from frontend.models.sources.retries import Patience, Sleep, patiently
from frontend.models.sources.spec import WebFile, file_name
from frontend.models.sources.transfer import Digest, Expected, transfer
from frontend.models.sources.web import basic_authorization, open_url
from frontend.shortened import shown_source

_FILES, _FILE, _UNPACKED = "files", "file", "unpacked"  # in the folder of a download
_GGUF = b"GGUF"


def pull_web(assembly: Assembly, source: WebFile, name: str, wish: Wish, sleep: Sleep) -> Pulled:
    """The model that the store calls `name`. It is not fetched again if the file has not changed.

    Raises ModelError, SourceError, and OSError if it cannot be written.
    """
    shown = str(source)
    assembly.refuse_taken(name, shown)
    open_at = open_url(source.url, basic_authorization(source.credentials), html=False)
    assembly.reporter.step(f"Looking for {shown}")

    def validator() -> str:
        with open_at(0, "") as opened:
            return opened.validator

    stored = assembly.store.installed_named(name)
    if stored and stored.is_current and stored.manifest.source == shown:
        origin = stored.manifest.origin
        if source.sha256:
            is_same = source.sha256 in origin.sha256.values()
        else:
            now = patiently(validator, assembly.reporter.note, Patience(sleep=sleep))
            is_same = bool(now) and now == origin.revision
        if is_same:
            return Pulled(name, str(stored.path), shown, origin.revision)
    digest = Digest("sha256", source.sha256) if source.sha256 else None
    file = Listed(0, Expected(digest=digest, identity=source.sha256), open_at)
    return pull_single(assembly, source.url, file, name, wish, sleep)


def pull_single(assembly: Assembly, url: str, file: Listed, name: str, wish: Wish, sleep: Sleep) -> Pulled:
    """The same, fetched in any case."""
    shown = shown_source(url)
    assembly.refuse_taken(name, shown)
    with assembly.store.downloading(key_of("single", url, file.expected.identity)) as area:
        assembly.reporter.step(f"Fetching {shown}")
        target = area / _FILE
        received = transfer(
            file.open,
            target,
            file.expected,
            _progress(assembly, file),
            Patience(sleep=sleep),
            assembly.reporter.note,
            file_name(url),
        )
        origin = Origin(
            kind="url",
            revision=received.validator,
            bytes=target.stat().st_size,
            sha256={file_name(url): received.sha256},
        )
        if is_gguf(target):
            return _gguf(assembly, target, shown, name, wish, origin, received.sha256)
        return pull_archive(assembly, target, shown, name, wish, origin, received.sha256)


def _progress(assembly: Assembly, file: Listed) -> Callable[[int, int | None], None]:
    return lambda done, total: assembly.reporter.progress(done, file.size or total)


def _gguf(
    assembly: Assembly, file: Path, url: str, name: str, wish: Wish, origin: Origin, sha256: str
) -> Pulled:
    if wish.weight_format:
        raise ModelError(f"{url} is a GGUF file, which keeps its weights; leave --weight-format out")
    main = f"{default_name(file_name(url))}.gguf"
    folder = file.parent / _FILES
    folder.mkdir(exist_ok=True)
    (folder / main).unlink(missing_ok=True)
    (folder / main).hardlink_to(file)
    choice = Choice("gguf", [main], main)
    made_of = Ingredients(name=name, source=url, origin=origin, choice=choice, fingerprint=sha256)
    return assembly.find(made_of) or assembly.build(made_of, folder, {main: sha256})


def pull_archive(
    assembly: Assembly, file: Path, source: str, name: str, wish: Wish, origin: Origin, sha256: str
) -> Pulled:
    """A model folder in an archive, which is unpacked beside it."""
    if not is_archive(file):
        raise SourceError("it is neither a GGUF file nor an archive (zip, tar)")
    assembly.reporter.step(f"Unpacking {file_name(source)}")
    unpacked = file.parent / _UNPACKED
    shutil.rmtree(unpacked, ignore_errors=True)
    return pull_folder(assembly, unpack(file, unpacked), source, name, wish, origin, sha256)


def pull_folder(
    assembly: Assembly, folder: Path, source: str, name: str, wish: Wish, origin: Origin, sha256: str = ""
) -> Pulled:
    """A folder of this machine. `sha256` is that of the archive that it comes from."""
    assembly.refuse_taken(name, source)
    sizes = sizes_of(folder)
    choice = chosen(sizes, documents_of(folder, [each for each in DOCUMENTS if each in sizes]), wish, source)
    hashes = hashes_of(folder, choice.files, assembly.store.digests.sha256) if not sha256 else {}
    size = sum(sizes[each] for each in choice.files)
    made_of = Ingredients(
        name=name,
        source=source,
        origin=msgspec.structs.replace(origin, bytes=origin.bytes or size),
        choice=choice,
        fingerprint=sha256 or key_of(*(f"{value}  {each}" for each, value in hashes.items())),
        weight_format=wish.weight_format or DEFAULT_WEIGHT_FORMAT,
    )
    return assembly.find(made_of) or assembly.build(made_of, folder, hashes or origin.sha256)


def is_gguf(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(len(_GGUF)) == _GGUF
