"""The `nacelle` command: finds subcommands, and reports an error in a few lines and as an exit status."""

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from frontend.cli.usage import EXIT_STATUS, WORDS, WrongUsage, explain, refuse_repeated, remember_words
from frontend.shortened import VALUE_CHARACTERS, shortened

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_INTERRUPTED = 130  # 128 + SIGINT, as a shell would report it


class _Subcommand(NamedTuple):
    where: str  # module:attribute
    help: str


SUBCOMMANDS = {
    "serve": _Subcommand("frontend.cli.serve:serve", "Serve models over the OpenAI API."),
    "pull": _Subcommand("frontend.cli.pull:pull", "Download and convert models."),
    "run": _Subcommand("frontend.cli.run:run", "Chat with a model in the terminal."),
    "ps": _Subcommand("frontend.cli.ps:ps", "List the models that a server has in memory."),
    "stop": _Subcommand(
        "frontend.cli.stop:stop", "Unload models from a running server, or end the server in the background."
    ),
    "load": _Subcommand(
        "frontend.cli.loading:load",
        "Load models into a running server, so that the first request need not wait.",
    ),
    "unload": _Subcommand(
        "frontend.cli.loading:unload",
        "Remove models from the memory of a running server, once their requests are done.",
    ),
    "logs": _Subcommand(
        "frontend.cli.logs:logs",
        "Show the log of the server in the background, or its lines about one model.",
    ),
    "incidents": _Subcommand(
        "frontend.cli.incidents:incidents",
        "List the recorded deaths of engine hosts, or show one, to share it in a report.",
    ),
    "list": _Subcommand("frontend.cli.listing:listing", "List the catalogue and the models in the store."),
    "show": _Subcommand("frontend.cli.show:show", "Show all that is known about a model of the store."),
    "cp": _Subcommand("frontend.cli.copy:copy", "Give a model of the store another name."),
    "rm": _Subcommand("frontend.cli.remove:remove", "Remove models from the store."),
    "prune": _Subcommand("frontend.cli.prune:prune", "Remove from the store what no model needs."),
    "keys": _Subcommand("frontend.cli.keys:keys", "Add, list and revoke API keys."),
    "config": _Subcommand(
        "frontend.cli.config:config",
        "Show the settings that nacelle serve would use, and where each was set.",
    ),
    "launch": _Subcommand(
        "frontend.cli.launch:launch", "Configure a coding agent for this server, and start it."
    ),
    "completion": _Subcommand(
        "frontend.cli.completion:completion", "Print the script that completes commands in a shell."
    ),
    "tune": _Subcommand("frontend.cli.tune:tune", "Find the settings with which a model is fastest here."),
    "doctor": _Subcommand(
        "frontend.cli.doctor:doctor",
        "Check this machine: devices, drivers, memory, disks, ports, versions.",
    ),
    "bench": _Subcommand(
        "bench.cli:bench",
        "Measure any OpenAI server, the raw pipeline, Nacelle's overhead or shared memory, or test a server.",
    ),
}


ALIASES = {"ls": "list"}  # that many tools have


class _Root(click.Group):
    """Imports a subcommand when it is called; the overview of all is shown without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(SUBCOMMANDS)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        remember_words(ctx, args)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        args = [ALIASES.get(args[0], args[0]), *args[1:]]
        if args[0] not in SUBCOMMANDS and not ctx.resilient_parsing:
            raise WrongUsage(_answer(args[0]))
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            refuse_repeated(command, rest, ctx)
        return name, command, rest

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in SUBCOMMANDS:
            return None
        module, _, attribute = SUBCOMMANDS[cmd_name].where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem

        found = [(name, known.help) for name, known in SUBCOMMANDS.items() if name.startswith(incomplete)]
        return [CompletionItem(name, help=help_) for name, help_ in found]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in SUBCOMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        from frontend.config import ConfigError  # not needed to show help
        from frontend.models.errors import ModelError

        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise explain(error, ctx) from error
        except ConfigError as error:
            raise WrongUsage(str(error)) from error
        except ModelError as error:
            raise click.ClickException(str(error)) from error
        except UnicodeEncodeError as error:
            if any(_is_no_text(word) for word in ctx.meta.get(WORDS, [])):
                raise WrongUsage("the command line is not UTF-8 text; write it anew") from error
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            raise explain(error) from error


def _is_no_text(word: str) -> bool:
    """Whether it has bytes that are not UTF-8, which Python shows as surrogates."""
    return any("\ud800" <= char <= "\udfff" for char in word)


def _answer(word: str) -> str:
    from frontend.cli.completion import model_names  # what follows is needed only here
    from frontend.cli.elsewhere import answer_command

    return answer_command(shortened(word, VALUE_CHARACTERS), SUBCOMMANDS, model_names())


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Get started: nacelle serve smollm2\n\n{EXIT_STATUS}",
)
@click.version_option(package_name="nacelle-server", prog_name="nacelle", message="%(prog)s %(version)s")
def root() -> None:
    """Serve OpenVINO models over the OpenAI API, each in its own supervised process."""
