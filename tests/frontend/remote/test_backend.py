"""Where a model is elsewhere, and what of that is invalid."""

import pytest

from frontend.config import ConfigError, ModelSettings
from frontend.config_sources import load_settings
from frontend.remote.backend import backends_of, base_url


@pytest.mark.parametrize(
    ("text", "url", "work"),
    [
        ("http://host:8000/v1", "http://host:8000/v1", "http://host:8000/internal/work/big"),
        ("http://host:8000/", "http://host:8000/v1", "http://host:8000/internal/work/big"),
        (
            " https://h.example/api/v1/ ",
            "https://h.example/api/v1",
            "https://h.example/api/internal/work/big",
        ),
        ("http://[::1]:8000", "http://[::1]:8000/v1", "http://[::1]:8000/internal/work/big"),
    ],
)
def test_a_url_leads_to_the_api_and_to_the_work(text, url, work):
    [backend] = backends_of(ModelSettings(name="m", source="remote", remote=[text], remote_model="big"), {})
    assert (backend.url, backend.work_url) == (url, work)
    assert "Authorization" not in backend.headers


@pytest.mark.parametrize(
    "text",
    [
        "host:8000",
        "ftp://host",
        "http://",
        "http://u:p@host",
        "http://host?x=1",
        "http://h#x",
        "http://h:99999",
        "h",
        "",
    ],
)
def test_what_is_no_url_of_a_server_is_an_error(text):
    with pytest.raises(ConfigError, match=r"remote: .* write http"):
        base_url(text)


def test_the_key_comes_from_the_environment():
    model = ModelSettings(name="m", source="remote", remote=["http://h"], remote_api_key_env="KEY")
    [backend] = backends_of(model, {"KEY": " secret "})
    assert backend.headers["Authorization"] == "Bearer secret"
    assert backend.model == "m"
    for environ in ({}, {"KEY": " "}, {"KEY": "a\nb"}, {"KEY": "ä"}):
        with pytest.raises(ConfigError, match="KEY"):
            backends_of(model, environ)


def models_of(text, tmp_path):
    path = tmp_path / "nacelle.toml"
    path.write_text(text)
    return load_settings(config=path)[0].models


def test_a_settings_file_names_one_server_or_several(tmp_path):
    [one] = models_of('[[models]]\nname = "m"\nremote = "http://a"\n', tmp_path)
    assert (one.source, one.remote) == ("remote", ["http://a"])
    [two] = models_of('[[models]]\nsource = "smollm2"\nremote = ["http://a", "http://b/v1"]\n', tmp_path)
    assert (two.name, two.source, two.remote) == ("smollm2", "smollm2", ["http://a", "http://b/v1"])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('remote = "http://a"', "name is missing"),
        ('name = "m"\nsource = "remote"', "remote: set the URL"),
        ('name = "m"\nremote = "nowhere"', "must be http://HOST"),
        ('source = "smollm2"\nremote_model = "x"', "need remote"),
        ('source = "smollm2"\nremote = "http://a"\nadapters = {x = "x.safetensors"}', "exclude each other"),
        ('name = "m"\nremote = "http://a"\nremote_api_key_env = "a b"', "remote_api_key_env"),
    ],
)
def test_what_does_not_fit_together_is_an_error_that_names_the_setting(lines, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        models_of(f"[[models]]\n{lines}\n", tmp_path)
