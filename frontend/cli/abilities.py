"""What a served model can do, as its server says, for commands that need a model that chats."""

import contextlib

import click

from frontend.cli.client import Client, Refused, segment

_OTHERS = {
    "embeddings": "computes embeddings",
    "rerank": "reranks documents",
    "transcription": "transcribes speech",
    "speech": "reads texts aloud",
}


def tasks_of(client: Client) -> dict[str, str]:
    """The task of each model that is served; empty if only administrators may know."""
    with contextlib.suppress(Refused):
        return {str(one["name"]): str(one["task"]) for one in client.get("/admin/models")["models"]}
    return {}


def generates_text(task: str) -> bool:
    """Whether a model of a task does, as far as the task is known."""
    return task not in _OTHERS


def check_chats(client: Client, name: str) -> None:
    """Raises ClickException for a model that is known to do something else."""
    task = ""
    with contextlib.suppress(Refused):  # it is not served yet, or only administrators may know
        task = str(client.get(f"/admin/models/{segment(name)}").get("task"))
    if not generates_text(task):
        raise click.ClickException(f"{name} {_OTHERS[task]}; choose a model that generates text")


def cannot_reason(client: Client, name: str) -> bool:
    """Whether a model generates text, but is known not to reason before it answers."""
    with contextlib.suppress(Refused):
        able = client.post("/api/show", {"model": name}).get("capabilities") or []
        return "completion" in able and "thinking" not in able
    return False
