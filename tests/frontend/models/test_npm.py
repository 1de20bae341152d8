"""Files from a package of npm, fetched by a stand-in for npm that makes the archive."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from frontend.models.catalogue import Entry, File, NpmPackage, WebFolder, Wheel, WheelsSource
from frontend.models.errors import SourceError
from frontend.models.npm import fetch_npm
from frontend.models.reporter import Progress, Silent

CONTENT = b"a voice"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
VOICE = File("voices/a.bin", len(CONTENT), DIGEST)


def package(sha256: str, member: str = "package/voices") -> NpmPackage:
    return NpmPackage("speaker", "1.0.0", sha256, member, "voices")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    with tarfile.open(tmp_path / "speaker-1.0.0.tgz", "w:gz") as archive:
        archive.add(tmp_path / "a.bin", "package/voices/a.bin")
    return tmp_path / "speaker-1.0.0.tgz"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def use_npm(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    (folder / "bin").mkdir()
    (folder / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")


def fetch(source: NpmPackage, target: Path) -> None:
    fetch_npm(source, [VOICE], target, Progress(Silent(), VOICE.bytes))


def test_a_folder_of_the_package_becomes_a_folder_of_the_source(archive, target, tmp_path, monkeypatch):
    use_npm(monkeypatch, tmp_path, f'[ "$1 $2" = "pack speaker@1.0.0" ] && cp {archive} .')
    fetch(package(hashlib.sha256(archive.read_bytes()).hexdigest()), target)
    assert (target / "voices" / "a.bin").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")] == []


def test_another_archive_is_not_unpacked(archive, target, tmp_path, monkeypatch):
    use_npm(monkeypatch, tmp_path, f"cp {archive} .")
    with pytest.raises(SourceError, match="not the pinned 0000"):
        fetch(package("0" * 64), target)
    assert not list(target.iterdir())


def test_a_package_without_the_file_is_named(archive, target, tmp_path, monkeypatch):
    use_npm(monkeypatch, tmp_path, f"cp {archive} .")
    with pytest.raises(SourceError, match=r"the package does not hold package/other/a\.bin"):
        fetch(package(hashlib.sha256(archive.read_bytes()).hexdigest(), "package/other"), target)


def test_npms_own_words_explain_a_failure(target, tmp_path, monkeypatch):
    use_npm(monkeypatch, tmp_path, "echo npm error code E404; exit 1")
    with pytest.raises(SourceError, match="npm: npm error code E404"):
        fetch(package("0" * 64), target)


def test_without_npm_the_error_says_so(target, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceError, match=r"npm, which comes with Node\.js, is not installed"):
        fetch(package("0" * 64), target)


def test_wheels_npm_and_the_web_together_have_the_files_of_an_entry():
    wheel = Wheel("w", "1", "0" * 64, {"model": "model"})
    files = [File("model", 1, "0" * 64), VOICE]
    for others in ({"npm": [package("0" * 64)]}, {"web": [WebFolder("https://x/voices", "voices")]}):
        assert WheelsSource([wheel], **others).wheels_for(files) == [wheel]
    with pytest.raises(ValueError, match=r"differ in voices/a\.bin"):
        Entry("d", "l", files, [WheelsSource([wheel])])
