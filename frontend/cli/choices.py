"""What a shell offers for values that need no look at models."""

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def complete_choice(names: Iterable[str]) -> Complete:
    """One of `names`."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        return [CompletionItem(name) for name in names if name.lower().startswith(incomplete.lower())]

    return complete


def complete_path(kind: str) -> Complete:
    """`kind` is file or dir."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        return [CompletionItem(incomplete, type=kind)]

    return complete
