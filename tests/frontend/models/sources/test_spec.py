"""What the SOURCE of a pull names."""

import pytest

from frontend.models.errors import ModelError
from frontend.models.sources.spec import (
    CatalogueName,
    HubRepository,
    LocalPath,
    RemotePath,
    WebFile,
    parse_source,
)
from frontend.shortened import shown_source, without_secrets

SHA256 = "ab" * 32


def parse(text, there=()):
    return parse_source(text, ["smollm2"], lambda path: path in there, "hub.example:8080")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("smollm2", CatalogueName("smollm2")),
        ("./smollm2", LocalPath("./smollm2")),
        ("~/m.gguf", LocalPath("~/m.gguf")),
        ("org/name", HubRepository("org/name")),
        ("org/name@v1", HubRepository("org/name", "", "v1")),
        ("org/name:latest", HubRepository("org/name")),
        ("org/name-GGUF:Q4_K_M", HubRepository("org/name-GGUF", "Q4_K_M")),
        ("hf:org/name:sub/file.gguf", HubRepository("org/name", "sub/file.gguf")),
        ("hf://org/name@v1:Q8_0", HubRepository("org/name", "Q8_0", "v1")),
        ("hf.co/org/name:Q8_0", HubRepository("org/name", "Q8_0")),
        ("https://huggingface.co/org/name", HubRepository("org/name")),
        ("https://huggingface.co/org/name/tree/v1", HubRepository("org/name", "", "v1")),
        ("https://hf.co/org/name/blob/main/a/b.gguf", HubRepository("org/name", "a/b.gguf", "main")),
        (
            "https://huggingface.co/org/name/resolve/main/b.gguf?download=true",
            HubRepository("org/name", "b.gguf", "main"),
        ),
        ("http://hub.example:8080/org/name", HubRepository("org/name")),
        ("http://other.example/org/name", WebFile("http://other.example/org/name")),
        ("https://x.example/m.gguf?a=b#top", WebFile("https://x.example/m.gguf?a=b")),
        (f"https://x.example/m.gguf#sha256={SHA256}", WebFile("https://x.example/m.gguf", SHA256)),
        ("http://[::1]:8000/m.gguf", WebFile("http://[::1]:8000/m.gguf")),
        ("gs://bucket/folder", RemotePath("gs://bucket/folder")),
        ("s3://bucket/m.gguf", RemotePath("s3://bucket/m.gguf")),
    ],
)
def test_a_source_is_recognized_by_its_form(text, source):
    assert parse(text) == source


def test_a_folder_that_is_there_comes_before_a_repository_of_its_name():
    assert parse("org/name", ["org/name"]) == LocalPath("org/name")
    assert parse("hf:org/name", ["hf:org/name"]) == HubRepository("org/name")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("smolm2", "the catalogue has no 'smolm2'; did you mean 'smollm2'"),
        ("hf:name", "'hf:name' names no repository; write hf:ORG/NAME"),
        ("hf:org/name/deeper", "names no repository"),
        ("https:///x", "names no host"),
        ("http://[::1/x", "names no host"),
        ("http://host:port/x", "names no host"),
        ("https://x.example/m.gguf#sha256=12", "#sha256= needs 64 hexadecimal digits"),
        ("file:///etc/passwd", "write the path of a local file"),
    ],
)
def test_what_names_nothing_is_explained(text, complaint):
    with pytest.raises(ModelError, match=complaint):
        parse(text)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("https://me:secret@x.example:8080/a/m.gguf", "https://x.example:8080/a/m.gguf"),
        ("https://x.example/m.gguf?X-Amz-Signature=secret#top", "https://x.example/m.gguf"),
        ("https://x.example/@org/m.gguf", "https://x.example/@org/m.gguf"),
        ("https://x.example?secret", "https://x.example"),
        ("https://me:sec/ret@x.example/m.gguf", "https://x.example/m.gguf"),
        ("sftp://me:secret@x.example/m.gguf", "sftp://x.example/m.gguf"),
        ("http://[::1]:80/m", "http://[::1]:80/m"),
        ("http://[::1]/m", "http://[::1]/m"),
        ("org/name@v1:Q8_0", "org/name@v1:Q8_0"),
        ("./a?b", "./a?b"),
    ],
)
def test_what_is_shown_of_a_source_has_no_secrets(source, shown):
    assert shown_source(source) == shown


@pytest.mark.parametrize(
    "source", ["https://me:secret@x.example:0/m", "https://me:secret@/m", "https://me:secret@h/m#sha256=1"]
)
def test_errors_about_a_url_have_no_secrets(source):
    with pytest.raises(ModelError) as caught:
        parse(source)
    assert "secret" not in str(caught.value)


def test_messages_of_libraries_lose_the_secrets_of_the_url():
    source = "sftp://me:secret@x.example/m?token=12345"
    text = f"cannot open {source}: me:secret refused, password secret, /m?token=12345"
    found = without_secrets(text, source)
    assert found.startswith("cannot open sftp://x.example/m: ")
    assert "secret" not in found
    assert "12345" not in found
