"""The `nacelle` command: finds subcommands, and reports an error in a few lines and as an exit status."""

import importlib
from typing import Any, NamedTuple

import click

from frontend.cli.usage import EXIT_STATUS, WrongUsage, explain, refuse_repeated, remember_words

_INTERRUPTED = 130  # 128 + SIGINT, as a shell would report it


class _Subcommand(NamedTuple):
    where: str  # module:attribute
    help: str


SUBCOMMANDS = {
    "serve": _Subcommand("frontend.cli.serve:serve", "Serve models over the OpenAI API."),
    "pull": _Subcommand("frontend.cli.pull:pull", "Download and convert catalogue models."),
    "list": _Subcommand("frontend.cli.listing:listing", "List the catalogue and the models in the store."),
    "tune": _Subcommand("frontend.cli.tune:tune", "Find the settings with which a model is fastest here."),
    "doctor": _Subcommand(
        "frontend.cli.doctor:doctor",
        "Check this machine: devices, drivers, memory, disks, ports, versions.",
    ),
    "bench": _Subcommand(
        "bench.cli:bench",
        "Measure any OpenAI server, the raw pipeline, Nacelle's overhead, or its shared memory.",
    ),
}


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
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(_INTERRUPTED)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as error:
            raise explain(error) from error


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"Get started: nacelle serve smollm2\n\n{EXIT_STATUS}",
)
@click.version_option(package_name="nacelle-server", prog_name="nacelle", message="%(prog)s %(version)s")
def root() -> None:
    """Serve OpenVINO models over the OpenAI API, each in its own supervised process."""
