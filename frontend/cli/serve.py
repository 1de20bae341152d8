"""`nacelle serve`: reads the settings, prepares the models, and runs the server."""

import logging
import os
from pathlib import Path
from typing import Any

import click

from frontend.cli.completion import complete_source
from frontend.cli.options import config_option, layer_of, options_of
from frontend.cli.terminal import TerminalReporter
from frontend.cli.usage import EXIT_STATUS
from frontend.config import ModelSettings, Settings
from frontend.observability import logs
from frontend.observability.tracing import check_tracing
from frontend.sessions.store import check_store

MODEL_OPTIONS = options_of(ModelSettings)
SERVER_OPTIONS = options_of(Settings)

log = logging.getLogger("nacelle")


class _Sectioned(click.Command):
    """Lists model options and server options under separate headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[click.Option | None]] = {
            "Model options (apply to every MODEL)": [*MODEL_OPTIONS],
            "Server options": [*SERVER_OPTIONS],
            "Other options": [config_option, self.get_help_option(ctx)],
        }
        for title, options in sections.items():
            rows = [record for option in options if option and (record := option.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.command(
    cls=_Sectioned,
    params=[
        click.Argument(["models"], nargs=-1, metavar="[MODEL]...", shell_complete=complete_source),
        *MODEL_OPTIONS,
        *SERVER_OPTIONS,
        config_option,
    ],
    epilog="Precedence, highest first: command-line option, NACELLE_* variable, .env, settings file; but a "
    f"[[models]] entry wins over variables.\n\n{EXIT_STATUS}",
)
def serve(models: tuple[str, ...], config: Path | None, **options: Any) -> None:
    """Serve models over the OpenAI API.

    MODEL is a catalogue name, a GGUF file, an IR folder, the name of a model in the store, or the name of a
    [[models]] entry in the settings file. Without MODEL, all [[models]] entries are served; without those,
    all models of the store, each loaded with the first request for it.
    """
    from frontend.reload.configuration import ConfigurationSource  # not needed to show help

    source = ConfigurationSource(
        layer_of(Settings, options), layer_of(ModelSettings, options), models, config, os.environ
    )
    settings, notes = source.settings()
    check_store(settings.session_store)
    check_tracing(settings)
    logs.configure(settings.log_format, settings.log_level)
    for note in notes:
        log.log(note.level, note.text)
    if "LISTEN_FDS" not in os.environ:  # else systemd listens, at addresses of its own
        from frontend.listening import why_not

        if refusal := why_not(settings):  # preparing models may take minutes
            log.error("%s", refusal)
            raise SystemExit(1)
    with TerminalReporter() as reporter:
        configuration = source.prepare(settings, reporter)
    for note in configuration.notes:
        log.log(note.level, "%s", note.text)

    from frontend.app import serve as run  # imported last: an invalid command line fails fast

    raise SystemExit(run(configuration, source.again))
