"""What a pull asks for, checked before anything is fetched. Imports little: servers check, too."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from frontend.config import NAME_CHARACTERS
from frontend.models.errors import ModelError
from frontend.models.manifest import canonical
from frontend.models.sources.spec import CatalogueName, HubRepository, LocalPath, Source, parse_source
from frontend.shortened import quoted

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+/-]*\Z")
WEIGHT_FORMATS = ("int4", "int8", "fp16")
_DEFAULT_ENDPOINT = "https://huggingface.co"


class PullOptions(msgspec.Struct, frozen=True):
    """What may be said beside the source. Empty: our choice."""

    name: str = ""
    revision: str = ""  # of a hub's repository
    pattern: str = ""  # of file names
    weight_format: str = ""  # of an export
    local: bool = True  # whether paths of this machine are allowed


def checked_source(text: str, options: PullOptions, catalogue: Collection[str]) -> Source:
    """What a source names. Raises ModelError if it names nothing, or does not fit the options."""
    if canonical(text) in catalogue:
        text = canonical(text)
    source = parse_source(text, catalogue, path_exists if options.local else _never, hub_host())
    if isinstance(source, LocalPath) and not options.local:
        raise ModelError(f"{quoted(text)} is a path of this machine; only the command line takes paths")
    if options.name and (len(options.name) > NAME_CHARACTERS or not _NAME.match(options.name)):
        raise ModelError(
            f"--name: {quoted(options.name)} is not a valid name; use letters, digits and ._:@+/-"
        )
    if options.revision and not isinstance(source, HubRepository):
        raise ModelError("--revision is for repositories of a model hub; leave it out")
    if isinstance(source, CatalogueName) and (options.pattern or options.weight_format):
        raise ModelError("--file and --weight-format are not for models of the catalogue; leave them out")
    return source


def endpoint() -> str:
    """The hub that the environment configures."""
    return (os.environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT).rstrip("/")


def hub_host() -> str:
    """The host of that hub, with its port."""
    return urlsplit(endpoint()).netloc


def path_exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _never(_: str) -> bool:
    return False
