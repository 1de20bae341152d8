"""What is taken for a local path in a request, and what is not."""

import pytest

from frontend.api.local_paths import is_local_path, refuse_local_path
from frontend.errors import BadRequest


@pytest.mark.parametrize(
    "text",
    [
        "/etc/passwd",
        "./model.gguf",
        "../model",
        "~/model",
        "~root/model",
        ".",
        "models/../../etc",
        "a/..",
        "file:///etc/passwd",
        "FILE:/x",
        " /blank/before",
        "C:\\models",
        "c:/models",
        "models\\x",
        "a\0b",
        "a\n/etc",
    ],
)
def test_local_paths(text):
    assert is_local_path(text)
    with pytest.raises(BadRequest, match=r"model: .* is a local path") as refused:
        refuse_local_path(text, "model")
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    "text",
    [
        "smollm2",
        "chat:v2",
        "org/model",
        "org/model-1.5..2",
        "https://example.com/a/b.gguf",
        "gs://b/c",
        "a@b",
        "",
    ],
)
def test_names_and_urls_are_none(text):
    assert not is_local_path(text)
