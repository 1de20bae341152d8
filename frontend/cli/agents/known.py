"""The agents that `nacelle launch` can configure: their files, what goes into them, how they are started."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from frontend.cli.agents.jsonc import read_jsonc, value_at, with_value

KEY_VARIABLE = "NACELLE_API_KEY"


class Target(NamedTuple):
    """What an agent is to use."""

    base_url: str  # with /v1
    model: str
    context_length: int | None  # tokens
    has_key: bool  # whether the server requires one; it is never written to a file


class Start(NamedTuple):
    """How an agent is started."""

    command: list[str]
    variables: dict[str, str]


class Agent(NamedTuple):
    """`text(old, target)` is the new content of `file(environment)`, whose content was `old`."""

    title: str
    file: Callable[[Mapping[str, str]], Path]
    text: Callable[[str, Target], str]
    start: Callable[[Path, Target], Start]
    install: str
    note: str = ""


def _config_home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _quoted(text: str) -> str:
    """A string of TOML and of YAML."""
    return json.dumps(text, ensure_ascii=False)


def _lines(*lines: str | None) -> str:
    return "".join(f"{line}\n" for line in lines if line is not None)


_GENERATED = "# Written by nacelle launch."


def _codex(_: str, target: Target) -> str:
    context = target.context_length
    return _lines(
        _GENERATED,
        f"model = {_quoted(target.model)}",
        'model_provider = "nacelle"',
        f"model_context_window = {context}" if context else None,
        "",
        "[model_providers.nacelle]",
        'name = "Nacelle"',
        f"base_url = {_quoted(target.base_url)}",
        f'env_key = "{KEY_VARIABLE}"' if target.has_key else None,
        'wire_api = "responses"',
    )


def _opencode(old: str, target: Target) -> str:
    path = ["provider", "nacelle"]
    known = value_at(read_jsonc(old), [*path, "models"])
    limit = (
        {"context": target.context_length, "output": target.context_length // 4}
        if target.context_length
        else None
    )
    model: dict[str, Any] = {"name": target.model, **({"limit": limit} if limit else {})}
    options = {
        "baseURL": target.base_url,
        **({"apiKey": f"{{env:{KEY_VARIABLE}}}"} if target.has_key else {}),
    }
    entry = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Nacelle",
        "options": options,
        "models": {**(known if isinstance(known, dict) else {}), target.model: model},
    }
    text = old or '{\n  "$schema": "https://opencode.ai/config.json"\n}\n'
    return with_value(text, path, entry)


def _opencode_file(environ: Mapping[str, str]) -> Path:
    folder = _config_home(environ) / "opencode"
    commented = folder / "opencode.jsonc"
    return commented if commented.exists() else folder / "opencode.json"


def _crush(old: str, target: Target) -> str:
    path = ["providers", "nacelle"]
    context = target.context_length or 8192
    model = {
        "id": target.model,
        "name": target.model,
        "context_window": context,
        "default_max_tokens": context // 4,
    }
    entry = {
        "name": "Nacelle",
        "type": "openai-compat",
        "base_url": target.base_url,
        "api_key": f"${KEY_VARIABLE}" if target.has_key else "unused",
        "models": _with_model(value_at(read_jsonc(old), [*path, "models"]), "id", model),
    }
    return with_value(old or '{\n  "$schema": "https://charm.land/crush.json"\n}\n', path, entry)


def _zed(old: str, target: Target) -> str:
    path = ["language_models", "openai_compatible", "Nacelle"]
    model = {
        "name": target.model,
        "display_name": target.model,
        "max_tokens": target.context_length or 8192,
        "capabilities": {
            "tools": True,
            "images": False,
            "parallel_tool_calls": True,
            "prompt_cache_key": False,
        },
    }
    known = value_at(read_jsonc(old), [*path, "available_models"])
    entry = {"api_url": target.base_url, "available_models": _with_model(known, "name", model)}
    return with_value(old or "{}\n", path, entry)


def _with_model(known: Any, key: str, model: dict[str, Any]) -> list[Any]:
    """The models that the agent knows already, with this one in place of its older self."""
    others = [one for one in known if value_at(one, [key]) != model[key]] if isinstance(known, list) else []
    return [*others, model]


def _goose(_: str, target: Target) -> str:
    provider = {
        "name": "nacelle",
        "engine": "openai",
        "display_name": "Nacelle",
        "description": "Models served by Nacelle",
        "api_key_env": KEY_VARIABLE if target.has_key else "",
        "base_url": f"{target.base_url}/chat/completions",
        "models": [{"name": target.model, "context_limit": target.context_length or 8192}],
        "supports_streaming": True,
        "requires_auth": target.has_key,
    }
    return json.dumps(provider, indent=2) + "\n"


def _aider(_: str, target: Target) -> str:
    return _lines(
        _GENERATED,
        f"model: {_quoted(f'openai/{target.model}')}",
        f"openai-api-base: {_quoted(target.base_url)}",
        None if target.has_key else "openai-api-key: unused",
        "show-model-warnings: false",
    )


def _continue(_: str, target: Target) -> str:
    context = target.context_length
    return _lines(
        _GENERATED,
        "name: Nacelle",
        "version: 1.0.0",
        "schema: v1",
        "models:",
        f"  - name: {_quoted(f'{target.model} (Nacelle)')}",
        "    provider: openai",
        f"    model: {_quoted(target.model)}",
        f"    apiBase: {_quoted(target.base_url)}",
        f"    apiKey: ${{{{ secrets.{KEY_VARIABLE} }}}}" if target.has_key else "    apiKey: unused",
        "    roles: [chat, edit, apply]",
        "    defaultCompletionOptions:" if context else None,
        f"      contextLength: {context}" if context else None,
    )


def _claude(old: str, target: Target) -> str:
    """Settings of its own, so that Claude Code without them uses Anthropic's servers as before."""
    models = ("ANTHROPIC_MODEL", *(f"ANTHROPIC_DEFAULT_{name}_MODEL" for name in ("OPUS", "SONNET", "HAIKU")))
    variables = {
        "ANTHROPIC_BASE_URL": target.base_url.removesuffix("/v1"),
        **({} if target.has_key else {_CLAUDE_KEY: "unused"}),
        **dict.fromkeys(models, target.model),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return with_value(old or "{}\n", ["env"], variables)


_CLAUDE_KEY = "ANTHROPIC_AUTH_TOKEN"

AGENTS = {
    "codex": Agent(
        "Codex",
        lambda environ: Path(environ.get("CODEX_HOME") or Path.home() / ".codex") / "nacelle.config.toml",
        _codex,
        lambda _, __: Start(["codex", "--profile", "nacelle"], {}),
        "npm install -g @openai/codex",
        "It is a profile of its own, for Codex 0.134 and later.",
    ),
    "claude": Agent(
        "Claude Code",
        lambda environ: _config_home(environ) / "nacelle" / "claude.json",
        _claude,
        lambda file, target: Start(
            ["claude", "--settings", str(file)],
            {_CLAUDE_KEY: f"${KEY_VARIABLE}"} if target.has_key else {},
        ),
        "npm install -g @anthropic-ai/claude-code",
    ),
    "opencode": Agent(
        "OpenCode",
        _opencode_file,
        _opencode,
        lambda _, target: Start(["opencode", "--model", f"nacelle/{target.model}"], {}),
        "npm install -g opencode-ai",
    ),
    "crush": Agent(
        "Crush",
        lambda environ: _config_home(environ) / "crush" / "crush.json",
        _crush,
        lambda _, __: Start(["crush"], {}),
        "npm install -g @charmland/crush",
        "Choose the model there with Ctrl-L.",
    ),
    "goose": Agent(
        "Goose",
        lambda environ: _config_home(environ) / "goose" / "custom_providers" / "nacelle.json",
        _goose,
        lambda _, target: Start(
            ["goose", "session"], {"GOOSE_PROVIDER": "nacelle", "GOOSE_MODEL": target.model}
        ),
        "see https://block.github.io/goose",
    ),
    "aider": Agent(
        "Aider",
        lambda environ: _config_home(environ) / "nacelle" / "aider.conf.yml",
        _aider,
        lambda file, target: Start(
            ["aider", "--config", str(file)],
            {"OPENAI_API_KEY": f"${KEY_VARIABLE}"} if target.has_key else {},
        ),
        "pipx install aider-chat",
    ),
    "continue": Agent(
        "Continue",
        lambda _: Path.home() / ".continue" / "nacelle.yaml",
        _continue,
        lambda file, _: Start(["cn", "--config", str(file)], {}),
        "npm install -g @continuedev/cli",
        "For its editor extensions, copy the entry below `models:` to ~/.continue/config.yaml.",
    ),
    "zed": Agent(
        "Zed",
        lambda environ: _config_home(environ) / "zed" / "settings.json",
        _zed,
        lambda _, __: Start(["zed"], {}),
        "see https://zed.dev",
        "Choose the model in its agent panel.",
    ),
}

OTHER_NAMES = {"claude-code": "claude", "cn": "continue", "open-code": "opencode", "codex-cli": "codex"}
