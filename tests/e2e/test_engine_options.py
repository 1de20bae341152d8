"""Engine options of a model, from the settings file to the answers."""

from pathlib import Path

import pytest

from tests.e2e.serving import Serving
from tests.models.altered import altered, name_layers, write_adapter

PROMPT = "The capital of France is"


def said(server: Serving, model: str, **fields: object) -> str:
    body = {"model": model, "prompt": PROMPT, "temperature": 0, "max_tokens": 12, **fields}
    answer = server.http.post("/v1/completions", json=body)
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["text"]
    return text


@pytest.fixture
def named_layers(smollm2_ir: Path, tmp_path: Path) -> Path:
    """SmolLM2 with layer names as adapters need them."""
    return altered(smollm2_ir, tmp_path / "named", name_layers)


def test_each_adapter_is_a_model_of_its_own_beside_the_base(named_layers: Path, tmp_path: Path):
    adapter = write_adapter(tmp_path / "random.safetensors")
    config = tmp_path / "nacelle.toml"
    config.write_text(
        f'[[models]]\nname = "base"\nsource = "{named_layers}"\nkv_cache_gib = 0.25\n'
        f'adapters = {{ off = "{adapter}:0", on = "{adapter}" }}\n'
    )
    with Serving([], ["--config", str(config)], {}) as server:
        for model in ("base", "base:off", "base:on"):
            server.wait_until_ready(model)
        base, off, on = (said(server, model) for model in ("base", "base:off", "base:on"))
    assert "Paris" in base
    assert off == base
    assert on != base


def test_options_of_one_model_in_the_settings_file(smollm2_ir: Path, tmp_path: Path):
    template = tmp_path / "loud.jinja"
    template.write_text("{% for message in messages %}{{ message.content | upper }}{% endfor %}")
    config = tmp_path / "nacelle.toml"
    config.write_text(
        f"""
[[models]]
name = "plain"
source = "{smollm2_ir}"
kv_cache_gib = 0.25

[[models]]
name = "guessing"
source = "{smollm2_ir}"
kv_cache_gib = 0.25
kv_cache_precision = "u8"
prompt_lookup = true
chat_template = "loud.jinja"
generation_defaults = {{ max_tokens = 5, temperature = 0.0 }}

[[models]]
name = "one_at_a_time"
source = "{smollm2_ir}"
engine = "stateful"
"""
    )
    with Serving([], ["--config", str(config)], {}) as server:
        for model in ("plain", "guessing", "one_at_a_time"):
            server.wait_until_ready(model)
        assert all("Paris" in said(server, model) for model in ("plain", "guessing", "one_at_a_time"))
        hello = {"model": "guessing", "messages": [{"role": "user", "content": "hello"}]}
        rendered = server.http.post("/v1/chat/completions/render", json=hello).json()["prompt"]
        assert rendered == "HELLO"
        answer = server.http.post("/v1/chat/completions", json=hello | {"ignore_eos": True}).json()
        assert answer["usage"]["completion_tokens"] == 5
