"""Pulls a model from a listing: a hub's repository, or what fsspec reaches."""

import hashlib
import shutil
from pathlib import Path

import msgspec

from frontend.models.errors import ModelError
from frontend.models.manifest import Origin
from frontend.models.reporter import Silent
from frontend.models.sources.assembly import DOCUMENTS, Assembly, Ingredients, Pulled, chosen
from frontend.models.sources.choice import Wish
from frontend.models.sources.export import DEFAULT_WEIGHT_FORMAT
from frontend.models.sources.fetching import fetch_listing
from frontend.models.sources.listing import Listing
from frontend.models.sources.local import documents_of
from frontend.models.sources.retries import Sleep
from frontend.shortened import quoted
from ipc.conversion import GGUF_ARCHITECTURES

_FILES = "files"  # in the folder of a download


def pull_listed(
    assembly: Assembly, listing: Listing, name: str, source: str, kind: str, wish: Wish, sleep: Sleep
) -> Pulled:
    """The model that the store calls `name`. `kind` is that of its origin.

    Raises ModelError, SourceError, and OSError if it cannot be written.
    """
    assembly.refuse_taken(name, source)
    key = key_of("listed", listing.title, listing.revision, *msgspec.structs.astuple(wish))
    with assembly.store.downloading(key) as area:
        folder = area / _FILES
        if not listing.is_versioned(listing.files):  # nobody knows whether these files are the same still
            shutil.rmtree(folder, ignore_errors=True)
        made_of = _looked_at(listing, folder, name, source, kind, wish, sleep)
        choice = made_of.choice
        is_versioned = listing.is_versioned(choice.files)
        if is_versioned and (found := assembly.find(made_of)):
            return found
        if choice.main:
            assembly.reuse_source(made_of, listing.files[choice.main].expected.digest, folder)
        assembly.reporter.step(f"Fetching {listing.title}" + (f" ({choice.main})" if choice.main else ""))
        sha256 = fetch_listing(
            listing, choice.files, folder, assembly.reporter, more_bytes=made_of.growth, sleep=sleep
        )
        if not is_versioned:
            content = key_of(*(f"{value}  {each}" for each, value in sorted(sha256.items())))
            made_of = msgspec.structs.replace(made_of, fingerprint=content)
            if found := assembly.find(made_of):
                return found
        return assembly.build(made_of, folder, sha256)


def _looked_at(
    listing: Listing,
    folder: Path,
    name: str,
    source: str,
    kind: str,
    wish: Wish,
    sleep: Sleep,
) -> Ingredients:
    """What will be fetched, after a look at small files."""
    small = [document for document in DOCUMENTS if document in listing.files]
    if small:
        fetch_listing(listing, small, folder, Silent(), sleep=sleep)
    choice = chosen(listing.sizes, documents_of(folder, small), wish, listing.title)
    if choice.kind == "gguf" and listing.gguf_architecture:
        _check_architecture(listing)
    size = sum(listing.files[each].size for each in choice.files)
    return Ingredients(
        name=name,
        source=source,
        origin=Origin(kind=kind, revision=listing.revision, licence=listing.licence, bytes=size),
        choice=choice,
        fingerprint=listing.fingerprint(choice.files),
        weight_format=wish.weight_format or DEFAULT_WEIGHT_FORMAT,
    )


def _check_architecture(listing: Listing) -> None:
    """Raise ModelError, before a large file is fetched, if it could not be converted."""
    if listing.gguf_architecture not in GGUF_ARCHITECTURES:
        raise ModelError(
            f"{listing.title} has GGUF files of the architecture {quoted(listing.gguf_architecture)}; only "
            f"{', '.join(GGUF_ARCHITECTURES)} can be converted\n"
            "Pull the original model instead, which optimum-intel exports, or one in OpenVINO's format."
        )


def key_of(*parts: str) -> str:
    """A short hash that names the folder of a download."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
