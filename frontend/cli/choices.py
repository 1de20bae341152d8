"""What a shell offers for values that need no look at models."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def complete_choice(names: Iterable[str]) -> Complete:
    """One of `names`."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
        return [item(name) for name in names if name.lower().startswith(incomplete.lower())]

    return complete


def complete_path(kind: str) -> Complete:
    """`kind` is file or dir."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
        return [item(incomplete, kind)]

    return complete


def item(value: str, kind: str = "plain") -> "CompletionItem":
    """`kind` is plain, file or dir."""
    from click.shell_completion import CompletionItem  # commands that complete nothing do not wait for it

    return CompletionItem(value, type=kind)
