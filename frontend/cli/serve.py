"""`nacelle serve`: settings, models, then the server."""

import os
from pathlib import Path
from typing import Any

import click

from frontend.cli.options import MODEL_OPTIONS, SERVER_OPTIONS, config_option, layer_of
from frontend.cli.terminal import TerminalReporter
from frontend.config import ModelSettings, Settings, check_bind
from frontend.config_sources import load_settings
from frontend.models.resolve import PreparedModel, preparer_for


class _Sectioned(click.Command):
    """Shows the options of models and of the server under headings of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[click.Option | None]] = {
            "Options of every MODEL": [*MODEL_OPTIONS],
            "Options of the server": [*SERVER_OPTIONS],
            "Other options": [config_option, self.get_help_option(ctx)],
        }
        for title, options in sections.items():
            rows = [record for option in options if option and (record := option.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.command(
    cls=_Sectioned,
    params=[
        click.Argument(["models"], nargs=-1, metavar="[MODEL]..."),
        *MODEL_OPTIONS,
        *SERVER_OPTIONS,
        config_option,
    ],
    epilog="An option wins over the environment, and that over the settings file; but what the file says of "
    "one model wins over the environment, which speaks of all.",
)
def serve(models: tuple[str, ...], config: Path | None, **options: Any) -> None:
    """Serve models over the OpenAI API.

    MODEL is a name of the catalogue, a GGUF file, an IR folder, or a name that the settings file gives to
    one of its [[models]]. Without MODEL, all of these are served.
    """
    settings = load_settings(
        layer_of(Settings, options), layer_of(ModelSettings, options), models, config, os.environ
    )
    if not settings.models:
        raise click.UsageError("name a model to serve, for example: nacelle serve smollm2")
    check_bind(settings)
    prepared = _prepare(settings)

    from frontend.app import serve as run  # after all that can be refused without it

    raise SystemExit(run(settings, prepared))


def _prepare(settings: Settings) -> list[PreparedModel]:
    with TerminalReporter() as reporter:
        preparer = preparer_for(settings.store, reporter)
        return [prepared for model in settings.models for prepared in preparer.prepare_all(model)]
