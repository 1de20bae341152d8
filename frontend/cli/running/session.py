"""A conversation in the terminal: reads, carries out commands, asks, shows."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from frontend.cli.abilities import cannot_reason
from frontend.cli.client import Client, Refused
from frontend.cli.running.answer import ask
from frontend.cli.running.attachments import BadAttachment, read_attachment, read_image
from frontend.cli.running.conversation import Attachment, Conversation, question_of
from frontend.cli.running.editor import Editor
from frontend.cli.running.slash import (
    HELP,
    SWITCHES,
    BadCommand,
    Slash,
    image_paths,
    parse_slash,
    paths_in,
    set_parameter,
)
from frontend.cli.styles import styled

Ensure = Callable[[str], str]  # has the server serve a model; returns its name


class Session:
    """`ensure` has the server serve a model that `/load` names."""

    def __init__(self, client: Client, conversation: Conversation, editor: Editor, ensure: Ensure) -> None:
        self._client = client
        self._conversation = conversation
        self._editor = editor
        self._ensure = ensure
        self._attached: list[Attachment] = []
        self.verbose = False

    def run(self) -> None:
        """Until the user leaves."""
        self._say(f"Chat with {self._conversation.model}. /help lists the commands, Ctrl-D leaves.")
        interrupted = False
        while True:
            try:
                line = self._editor.read()
            except EOFError:
                click.echo()
                return
            except KeyboardInterrupt:
                click.echo()
                if interrupted:
                    return
                interrupted = True
                self._say("Ctrl-C again, Ctrl-D or /bye leaves.")
                continue
            interrupted = False
            if line and not self._handle(line):
                return

    def attach(self, files: list[Attachment]) -> None:
        """Files that go with the next message."""
        self._attached += files

    def _handle(self, line: str) -> bool:
        """Returns whether the conversation goes on."""
        try:
            command = parse_slash(line, _exists)
            if command is None:
                self._ask(line)
                return True
            if command.name == "bye":
                return False
            self._carry_out(command)
        except KeyboardInterrupt:  # while /load waits
            self._say("stopped")
        except (BadCommand, BadAttachment, click.ClickException) as error:
            self._complain(_message(error))
        return True

    def _ask(self, line: str) -> None:
        self._attach_images_in(line)
        question = question_of(line, self._attached)
        try:
            answer = ask(self._client, self._conversation, question)
        except KeyboardInterrupt:
            self._say("stopped")
            answer = None
        self._attached = []
        click.echo()
        if answer and self.verbose and answer.statistics:
            self._say(answer.statistics)
        if answer and answer.finish_reason == "length" and not self._conversation.parameters.max_tokens:
            self._say("The answer reached the limit of tokens: see /set max_tokens.")

    def _carry_out(self, command: Slash) -> None:
        match command.name:
            case "help":
                click.echo(HELP)
            case "set":
                self._set(command.argument)
            case "show":
                self._show()
            case "load":
                self._load(command.argument)
            case "file" | "image":
                self._attach(command)
            case "clear":
                self._conversation.clear()
                self._attached = []
                self._say("forgot the conversation")

    def _set(self, argument: str) -> None:
        switch = argument.lower()
        if switch in ("history", "nohistory"):
            self._conversation.keep_history = SWITCHES[switch]
            self._say(switch)
        elif switch in SWITCHES:
            self.verbose = SWITCHES[switch]
            self._say(switch)
        else:
            self._say(set_parameter(self._conversation.parameters, argument))
            self._check_reasons()

    def _check_reasons(self) -> None:
        parameters = self._conversation.parameters
        if parameters.think and cannot_reason(self._client, self._conversation.model):
            parameters.think = None
            raise BadCommand(f"{self._conversation.model} does not reason before it answers")

    def _show(self) -> None:
        import msgspec

        values = msgspec.structs.asdict(self._conversation.parameters)
        shown = {"model": self._conversation.model, "turns": len(self._conversation.messages) // 2, **values}
        shown["attached"] = ", ".join(file.name for file in self._attached) or None
        for name, value in shown.items():
            if value is not None and value is not False:
                click.echo(f"{name:<12} {value}")

    def _load(self, model: str) -> None:
        if not model:
            raise BadCommand("name a model: /load MODEL")
        self._conversation.model = self._ensure(model)
        self._say(f"now talking to {self._conversation.model}; it sees the conversation so far")

    def _attach(self, command: Slash) -> None:
        read = read_image if command.name == "image" else read_attachment
        files = [read(path) for path in paths_in(command.argument)]
        self.attach(files)
        self._say(f"attached {', '.join(file.name for file in files)}")

    def _attach_images_in(self, line: str) -> None:
        """Files that are dropped on a terminal arrive as their paths."""
        images = [read_image(path) for path in image_paths(line, _is_file)]
        if images:
            self.attach(images)
            self._say(f"attached {', '.join(image.name for image in images)}")

    def _say(self, text: str) -> None:
        click.echo(styled(text, "dim", sys.stdout))

    def _complain(self, text: str) -> None:
        click.echo(f"{styled('Error:', 'red', sys.stderr)} {text}", err=True)


def _message(error: Exception) -> str:
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    too_long = isinstance(error, Refused) and error.code == "context_length_exceeded"
    return f"{text} /clear forgets the conversation." if too_long else text


def _is_file(path: str) -> bool:
    try:
        return Path(path).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a name that is too long
        return False
