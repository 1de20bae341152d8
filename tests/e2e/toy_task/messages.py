"""Reversing texts: the messages of a toy task."""

from ipc.messages.core import ModelCard, Options, Reply, Task, Work


class ReverseOptions(Options):
    pass


class Reversed(Reply):
    text: str


class Reverse(Work):
    """Reverse an encoded string."""

    answers = (Reversed,)


TASK = Task(
    name="reverse",
    engines=("reverse",),
    options=ReverseOptions,
    card=ModelCard,
    work=(Reverse,),
    replies=(Reversed,),
)
