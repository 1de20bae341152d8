"""What the SOURCE of `nacelle pull` names: a pure function of the text.

NAME                                a model of the catalogue
ORG/NAME[@REVISION][:QUANT|:FILE]   a repository of a model hub; hf: or hf.co/ may precede it
http(s)://…[#sha256=HEX]            a GGUF file or an archive
gs://…, s3://…                      a file or folder that fsspec reaches
PATH                                a local file or folder
"""

import re
from collections.abc import Callable, Collection
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import msgspec

from frontend.config_values import suggestion
from frontend.models.errors import ModelError
from frontend.shortened import quoted, shown_source

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_REPOSITORY = re.compile(rf"({_PART}/{_PART})(?:@([^:@\s]+))?(?::(.+))?\Z")
_HUB_PREFIXES = ("hf://", "hf:", "hf.co/", "huggingface.co/")
_HUB_HOSTS = {"huggingface.co", "www.huggingface.co", "hf.co"}
_REPOSITORY_URL = re.compile(
    rf"/({_PART}/{_PART})(?:/(?:(?:tree|commit)/([^/]+)|(?:resolve|blob|raw)/([^/]+)/(.+)))?/?\Z"
)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_LOCAL_SCHEMES = {"file", "local", "memory", "dir", "zip", "tar", "libarchive", "reference"}
_OTHER_SOURCES = "ORG/NAME of a model hub, a URL, or a local file or folder"
_LATEST = "latest"  # what Ollama calls the default


class CatalogueName(msgspec.Struct, frozen=True):
    """A model of the catalogue."""

    name: str


class HubRepository(msgspec.Struct, frozen=True):
    """A repository of a model hub. `choice` is a file, or the quantization of a GGUF file; empty: ours."""

    repository: str
    choice: str = ""
    revision: str = ""

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{revision}" + (f":{self.choice}" if self.choice else "")


class WebFile(msgspec.Struct, frozen=True):
    """A file on the web."""

    url: str
    sha256: str = ""
    credentials: str = ""  # USER:PASSWORD of the URL, which the store does not keep

    def __str__(self) -> str:
        return shown_source(self.url)


class RemotePath(msgspec.Struct, frozen=True):
    """A file or folder that fsspec reaches."""

    url: str

    def __str__(self) -> str:
        return shown_source(self.url)


class LocalPath(msgspec.Struct, frozen=True):
    """A file or folder of this machine."""

    path: str


Source = CatalogueName | HubRepository | WebFile | RemotePath | LocalPath


def parse_source(
    text: str, catalogue: Collection[str], exists: Callable[[str], bool], hub_host: str = ""
) -> Source:
    """Raises ModelError for a text that names none. `hub_host` is that of HF_ENDPOINT."""
    if not text.strip():
        raise ModelError(f"SOURCE must not be empty; name a model of the catalogue, {_OTHER_SOURCES}")
    if text in catalogue:
        return CatalogueName(text)
    if scheme := _SCHEME.match(text):
        if scheme[1].lower() == "hf":
            return _hub(text)
        return _of_url(text, scheme[1].lower(), hub_host)
    if text.startswith(_HUB_PREFIXES):
        return _hub(text)
    if "::" in text:  # fsspec would chain them
        return _of_url(text, text.partition(":")[0].lower(), hub_host)
    if _is_path(text) or exists(text):
        return LocalPath(text)
    if _REPOSITORY.match(text):
        return _hub(text)
    hint = suggestion(text, catalogue) or f"; it has {', '.join(catalogue)}"
    more = " " if hint.endswith("?") else "; "
    raise ModelError(f"the catalogue has no {quoted(text)}{hint}{more}{_OTHER_SOURCES} can be pulled, too")


def file_name(url: str) -> str:
    """The last part of a URL's path, else its host."""
    parts = urlsplit(url)
    return PurePosixPath(unquote(parts.path.rstrip("/"))).name or parts.netloc.rpartition("@")[2]


def _is_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~")) or text in (".", "..")


def _hub(text: str) -> HubRepository:
    prefix = next((prefix for prefix in _HUB_PREFIXES if text.startswith(prefix)), "")
    match = _REPOSITORY.match(text.removeprefix(prefix))
    if match is None:
        raise ModelError(f"{quoted(text)} names no repository; write hf:ORG/NAME, or hf:ORG/NAME:QUANT")
    repository, revision, choice = match.groups(default="")
    return HubRepository(repository, "" if choice.lower() == _LATEST else choice, revision)


def _of_url(text: str, scheme: str, hub_host: str) -> Source:
    is_web = scheme in ("http", "https")
    if scheme in _LOCAL_SCHEMES or ("::" in text and not is_web):  # an IPv6 address may have them
        raise ModelError(
            f"{quoted(shown_source(text))}: write the path of a local file or folder, without {scheme}:"
        )
    if not is_web:
        return RemotePath(text)
    try:
        parts = urlsplit(text)
        is_sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_sound = False
    if not is_sound:
        raise ModelError(f"{quoted(shown_source(text))} names no host; write https://HOST/FILE")
    is_hub = parts.hostname in _HUB_HOSTS or (hub_host and parts.netloc == hub_host)
    if is_hub and (match := _REPOSITORY_URL.match(unquote(parts.path))):
        repository, tree, revision, file = match.groups(default="")
        return HubRepository(repository, file, tree or revision)
    digest = parts.fragment.removeprefix("sha256=").lower()
    if parts.fragment.startswith("sha256=") and not _SHA256.match(digest):
        raise ModelError(f"{quoted(shown_source(text))}: #sha256= needs 64 hexadecimal digits")
    credentials, _, place = parts.netloc.rpartition("@")
    url = parts._replace(netloc=place, fragment="").geturl()
    sha256 = digest if parts.fragment.startswith("sha256=") else ""
    return WebFile(url, sha256, unquote(credentials))
