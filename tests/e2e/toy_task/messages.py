"""Reversing texts: the messages of a toy task."""

from ipc.messages.core import ModelCard, Options, Reply, Task, Work


class ReverseOptions(Options):
    pass


class ReverseCard(ModelCard):
    pass


class Reverse(Work):
    """Reverse an encoded string. Answered by Reversed."""


class Reversed(Reply):
    text: str


TASK = Task(
    name="reverse",
    engines=("reverse",),
    options=ReverseOptions,
    card=ReverseCard,
    work=(Reverse,),
    replies=(Reversed,),
)
