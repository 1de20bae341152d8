"""`nacelle run`: a conversation in the terminal, or one answer for a program.

People wait for the first word: what an answer of a running server does not need is imported where it is used.
"""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from frontend.cli.abilities import cannot_reason, check_chats
from frontend.cli.address import SERVER_PARAMS, find_server
from frontend.cli.client import Client, Refused
from frontend.cli.completion import complete_model
from frontend.cli.durations import keep_alive_option
from frontend.cli.running.answer import PATH, Answer, ask, pieces
from frontend.cli.running.conversation import Attachment, Conversation, Parameters, question_of
from frontend.cli.serving import ensure_served
from frontend.cli.usage import WrongUsage

_MAX_PIPED_BYTES = 4 * 1024**2


def _checked(name: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    def check(_: click.Context, option: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        from frontend.cli.running.slash import BadCommand, number

        try:
            return number(name, value)
        except BadCommand as error:
            raise WrongUsage(f"{option.opts[0]}{str(error).removeprefix(name)}") from error

    return check


def _number_option(name: str, help_: str) -> click.Option:
    option = f"--{name.replace('_', '-')}"
    return click.Option([option, name], metavar="N", callback=_checked(name), help=help_)


@click.command(
    params=[
        click.Argument(["model"], metavar="MODEL", shell_complete=complete_model),
        click.Argument(["prompt"], nargs=-1, metavar="[PROMPT]"),
        click.Option(
            ["-f", "--file", "files"],
            multiple=True,
            metavar="FILE",
            help="Text or image to attach.  [repeatable]",
        ),
        click.Option(
            ["--image", "images"], multiple=True, metavar="FILE", help="Image to attach.  [repeatable]"
        ),
        click.Option(["--system"], metavar="TEXT", help="What the model is told before the conversation."),
        _number_option("temperature", "Randomness: 0 always takes the likeliest token."),
        _number_option("top_p", "Consider only the likeliest tokens whose probabilities sum up to N."),
        _number_option("max_tokens", "Maximum length of an answer, in tokens."),
        _number_option("seed", "Equal requests with an equal seed get equal answers."),
        click.Option(
            ["--think/--no-think"],
            default=None,
            help="Whether a model that can choose reasons before it answers, and whether that is shown.",
        ),
        click.Option(
            ["--format", "format_"], type=click.Choice(["json"]), help="Have the model answer in JSON."
        ),
        keep_alive_option,
        click.Option(
            ["--json", "as_json"], is_flag=True, help="Print one JSON object with the text and its usage."
        ),
        click.Option(
            ["-v", "--verbose"], is_flag=True, help="Report tokens and speed of each answer on stderr."
        ),
        *SERVER_PARAMS,
    ],
    epilog='Piped standard input follows the prompt: cat notes.txt | nacelle run smollm2 "Summarize"',
)
def run(
    model: str,
    prompt: tuple[str, ...],
    files: tuple[str, ...],
    images: tuple[str, ...],
    keep_alive: float | None,
    as_json: bool,
    verbose: bool,
    url: str | None,
    config: Path | None,
    **options: Any,
) -> None:
    """Chat with a model in the terminal.

    With PROMPT or piped input, prints one answer, or the vector of a model that computes embeddings. Without
    a running server, starts one in the background.
    """
    text = _with_piped(" ".join(prompt))
    attachments = _attachments(files, images)
    interactive = not text and sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    if not text and not interactive:
        raise WrongUsage(f'nothing to ask; write a prompt: nacelle run {model} "PROMPT"')
    client = Client(find_server(url, config))
    name = ensure_served(client, model, config)
    if keep_alive is not None:
        from frontend.cli.loading import load_model

        load_model(client, name, keep_alive)
    if options["think"] and cannot_reason(client, name):
        raise WrongUsage(f"--think: {name} does not reason before it answers; leave the option out")
    conversation = Conversation(name, _parameters(options))
    if interactive:
        _chat(client, conversation, attachments, verbose, config)
        return
    question = question_of(text, attachments)
    try:
        answer = (_answer_json if as_json else ask)(client, conversation, question)
    except Refused as refused:
        if refused.status != 400:
            raise
        from frontend.cli.running.vectors import vector_of

        if (vector := vector_of(client, name, text)) is None:
            raise
        click.echo(msgspec.json.encode(vector))
        return
    if verbose and answer.statistics:
        click.echo(answer.statistics, err=True)


def _parameters(options: dict[str, Any]) -> Parameters:
    return Parameters(
        system=options["system"],
        temperature=options["temperature"],
        top_p=options["top_p"],
        max_tokens=options["max_tokens"],
        seed=options["seed"],
        think=options["think"],
        json_object=options["format_"] == "json",
    )


def _chat(
    client: Client,
    conversation: Conversation,
    attachments: list[Attachment],
    verbose: bool,
    config: Path | None,
) -> None:
    from frontend.cli.running.editor import Editor
    from frontend.cli.running.session import Session
    from frontend.cli.state import state_folder

    def ensure(model: str) -> str:
        check_chats(client, model)  # before it is loaded for nothing
        name = ensure_served(client, model, config)
        check_chats(client, name)
        return name

    check_chats(client, conversation.model)
    editor = Editor(state_folder() / "history")
    session = Session(client, conversation, editor, ensure)
    session.verbose = verbose
    session.attach(attachments)
    session.run()


def _answer_json(client: Client, conversation: Conversation, question: dict[str, Any]) -> Answer:
    answer = Answer()
    chunks = client.events("POST", PATH, conversation.body(question))
    for _ in pieces(chunks, answer):
        pass  # they are collected in `answer`
    body = {
        "model": conversation.model,
        "text": answer.text,
        "reasoning": answer.reasoning or None,
        "finish_reason": answer.finish_reason,
        "usage": answer.usage,
        "seconds_to_first_token": answer.seconds_to_first_token,
        "seconds": answer.seconds,
    }
    click.echo(msgspec.json.format(msgspec.json.encode(body)).decode())
    return answer


def _attachments(files: tuple[str, ...], images: tuple[str, ...]) -> list[Attachment]:
    if not (files or images):
        return []
    from frontend.cli.running.attachments import BadAttachment, read_attachment, read_image

    try:
        return [*(read_image(path) for path in images), *(read_attachment(path) for path in files)]
    except BadAttachment as error:
        raise WrongUsage(f"{error}; correct -f or --image") from error


def _with_piped(prompt: str) -> str:
    """The prompt, and after it what is piped into the command."""
    piped = _piped()
    return "\n\n".join(part for part in (prompt.strip(), piped.strip()) if part)


def _piped() -> str:
    if sys.stdin is None or sys.stdin.closed or sys.stdin.isatty():
        return ""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISREG(mode) or stat.S_ISSOCK(mode)):
        return ""  # /dev/null
    content = sys.stdin.buffer.read(_MAX_PIPED_BYTES + 1)
    if len(content) > _MAX_PIPED_BYTES:
        raise WrongUsage(f"standard input is larger than {_MAX_PIPED_BYTES // 1024**2} MiB; pipe less")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WrongUsage("standard input is not UTF-8 text; pass images with --image FILE") from error
