"""The built-in catalogue."""

from typing import Any

import msgspec
import pytest

from frontend.models.catalogue import Entry, File, UrlSource, WheelSource, WheelsSource, load_catalogue


def test_the_catalogue_has_smollm2_and_its_first_source_is_a_wheel():
    entry = load_catalogue()["smollm2"]
    wheel, url = entry.sources
    assert isinstance(wheel, WheelSource)
    assert isinstance(url, UrlSource)
    assert [file.name for file in entry.files] == ["SmolLM2-135M-Instruct.Q4_1.gguf"]
    assert entry.sha256 == entry.files[0].sha256
    assert entry.bytes == entry.files[0].bytes
    assert (entry.generation["temperature"], entry.generation["top_p"]) == (0.2, 0.9)


def test_every_entry_can_be_fetched_safely():
    for name, entry in load_catalogue().items():
        assert name == name.lower()
        assert "/" not in name
        assert entry.bytes > 0
        assert len({file.name for file in entry.files}) == len(entry.files)
        assert entry.licence
        for source in entry.sources:
            assert not isinstance(source, UrlSource) or source.url.startswith("https://")


def test_whisper_comes_from_several_wheels_with_a_model_that_finds_speech():
    catalogue = load_catalogue()
    for name, parts in (("whisper", 2), ("whisper-tiny-en", 1)):
        entry = catalogue[name]
        (source,) = entry.sources
        assert isinstance(source, WheelsSource)
        assert [file.name for file in entry.files][0::3] == ["model.bin", "silero_vad.onnx"]
        assert sum("model.bin" in wheel.members for wheel in source.wheels) == parts
        assert source.title.endswith("silero-vad 6.2.3 from the package index")


@pytest.mark.parametrize("members", [{"a": "x"}, {"a": "x", "b": "y", "c": "z"}])
def test_wheels_with_other_files_than_the_entrys_are_refused(members):
    wheel = {"package": "p", "version": "1", "sha256": "0" * 64, "members": members}
    facts: dict[str, Any] = {
        "description": "",
        "licence": "",
        "files": [{"name": name, "bytes": 1, "sha256": "0" * 64} for name in "ab"],
        "sources": [{"kind": "wheels", "wheels": [wheel]}],
    }
    with pytest.raises(msgspec.ValidationError, match=r"the wheels and the files differ in [bc]"):
        msgspec.convert(facts, Entry)
    facts["sources"][0]["wheels"][0]["members"] = {"a": "x", "b": "y"}
    assert msgspec.convert(facts, Entry).bytes == 2


def test_the_synthetic_engine_is_no_model_of_the_catalogue():
    assert "synthetic" not in load_catalogue()


def test_an_entry_with_a_field_that_means_nothing_is_refused(tmp_path):
    file = tmp_path / "catalogue.toml"
    file.write_text("[m]\nlicense = 'typo'")
    with pytest.raises(msgspec.ValidationError, match="license"):
        load_catalogue(file)


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../x", "a//b", ".hidden", "a/.b", "a b", "a\\b"]
)
def test_a_file_outside_of_its_folder_is_refused(name):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"name": name, "bytes": 1, "sha256": "0" * 64}, File)


def test_the_hash_of_several_files_depends_on_each_name_and_content():
    files = [File("a", 1, "0" * 64), File("b", 2, "1" * 64)]
    entry = Entry(description="", licence="", files=files, sources=[UrlSource("https://x.example")])
    assert entry.bytes == 3
    others = [
        [files[0], File("c", 2, "1" * 64)],
        [files[0], File("b", 2, "2" * 64)],
        [files[0], files[1], File("c", 1, "0" * 64)],
    ]
    hashes = {msgspec.structs.replace(entry, files=changed).sha256 for changed in [files, *others]}
    assert len(hashes) == 4
