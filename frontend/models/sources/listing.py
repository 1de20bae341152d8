"""The files that a source has, and how each is fetched."""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from frontend.models.sources.transfer import Expected, Open


class Listed(msgspec.Struct, frozen=True):
    """A file: `size` is in bytes, 0 if it is unknown."""

    size: int
    expected: Expected
    open: Open


class Listing(msgspec.Struct, frozen=True):
    """A repository, folder or single file, in one version. `title` names it for people."""

    title: str
    revision: str  # of the source, such as a commit; empty: unknown
    files: Mapping[str, Listed]
    licence: str = ""
    gguf_architecture: str = ""  # of its GGUF files; empty: unknown

    @property
    def sizes(self) -> dict[str, int]:
        return {name: file.size for name, file in self.files.items()}

    def is_versioned(self, names: Iterable[str]) -> bool:
        """Whether it is stated of each of these files what changes with it."""
        return all(self.files[name].expected.digest or self.files[name].expected.identity for name in names)

    def fingerprint(self, names: Iterable[str]) -> str:
        """A hash of the versions of these files, or of what is known of them."""
        lines = []
        for name in sorted(names):
            size, expected = self.files[name].size, self.files[name].expected
            digest = f"{expected.digest.kind}:{expected.digest.value}" if expected.digest else ""
            lines.append(f"{digest or expected.identity or f'{size} {self.title}'}  {name}\n")
        return hashlib.sha256("".join(lines).encode()).hexdigest()
