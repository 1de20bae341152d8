"""Answers the commands of other tools, such as Ollama's, with ours. Pure."""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from frontend.config_values import similar


class _Ours(NamedTuple):
    command: str  # one that must exist for this answer; empty for none
    answer: str


# Words of Ollama, llama.cpp, vLLM, LM Studio, Docker Model Runner and of habit → ours.
_WORDS = {
    "models search catalog catalogue tags library": _Ours("list", "write nacelle list"),
    "delete remove del uninstall erase rmi": _Ours("rm", "write nacelle rm MODEL"),
    "copy clone": _Ours("cp", "write nacelle cp OLD NEW"),
    "alias rename mv tag": _Ours("serve", "write nacelle serve MODEL --name NAME"),
    "chat cli talk ask repl prompt": _Ours("run", "write nacelle run MODEL"),
    "generate complete completion-mode query exec": _Ours("run", 'write nacelle run MODEL "PROMPT"'),
    "start up server daemon api api-server host deploy": _Ours("serve", "write nacelle serve MODEL"),
    "restart": _Ours("stop", "write nacelle stop --server, then nacelle serve MODEL"),
    "down kill shutdown quit exit end": _Ours(
        "stop", "write nacelle stop --server for a server in the background; Ctrl-C stops any other"
    ),
    "download get fetch install add import convert export quantize": _Ours(
        "pull", "write nacelle pull MODEL"
    ),
    "info inspect describe about details": _Ours("show", "write nacelle show MODEL"),
    "status top stat stats running loaded": _Ours("ps", "write nacelle ps"),
    "warmup preload": _Ours("load", "write nacelle load MODEL"),
    "evict free release": _Ours("unload", "write nacelle unload MODEL"),
    "log tail": _Ours("logs", "write nacelle logs"),
    "settings env environment configure setup": _Ours("config", "write nacelle config"),
    "estimate fit memory": _Ours("load", "write nacelle load MODEL --estimate"),
    "check diagnose health collect-env devices device gpu gpus": _Ours("doctor", "write nacelle doctor"),
    "clean gc cache clear": _Ours("prune", "write nacelle prune"),
    "benchmark perf latency throughput llama-bench": _Ours("bench", "write nacelle bench serve"),
    "optimize autotune": _Ours("tune", "write nacelle tune MODEL"),
    "integrate connect agent code": _Ours("launch", "write nacelle launch AGENT"),
    "create build modelfile": _Ours(
        "", "a model's settings are a [[models]] entry of the settings file: nacelle serve --config FILE"
    ),
    "push publish upload": _Ours("", "models are not uploaded anywhere; a model is a folder: nacelle list"),
    "signin login signup signout logout whoami": _Ours(
        "", "no account is needed; for gated models, set HF_TOKEN"
    ),
    "embed embedding embeddings": _Ours("", "serve an embedding model and ask POST /v1/embeddings"),
    "rerank score": _Ours("", "serve a reranker and ask POST /v1/rerank"),
    "transcribe whisper": _Ours("", "serve whisper and ask POST /v1/audio/transcriptions"),
    "speak say tts": _Ours("", "serve kokoro and ask POST /v1/audio/speech"),
    "version": _Ours("", "write nacelle --version"),
    "help": _Ours("", "write nacelle --help, or nacelle COMMAND --help"),
    "update upgrade": _Ours("", "upgrade with the tool that installed it: pip, pipx or uv"),
}
_ANSWERS = {word: ours for words, ours in _WORDS.items() for word in words.split()}


def answer_command(word: str, commands: Collection[str], models: Iterable[str] = ()) -> str:
    """One line about a command that does not exist. `models` are those that may be meant."""
    lower = word.lower()
    shown = f"no such command {word!r}"
    if lower in commands:
        return f"{shown}; write nacelle {lower}"
    ours = _ANSWERS.get(lower)
    if ours is not None and (not ours.command or ours.command in commands):
        return f"{shown}; {ours.answer}"
    if word in set(models) or lower.endswith(".gguf"):
        return f"{shown}; to chat with the model, write nacelle run {word}"
    close = similar(word, commands)
    return f"{shown}; did you mean {close!r}?" if close else f"{shown}; see nacelle --help"
