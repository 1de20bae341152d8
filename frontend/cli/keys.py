"""`nacelle keys add|list|revoke`: the file of API keys. A running server follows it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from frontend.caller import Limits, Scope
from frontend.cli.durations import parse_duration
from frontend.cli.options import config_option, option_for
from frontend.cli.usage import EXIT_STATUS, WrongUsage, refuse_repeated
from frontend.config import ConfigError, Settings

if TYPE_CHECKING:
    from frontend.access.keys import KeyRecord


class _Keys(click.Group):
    """Reports what is wrong as the commands beside it do."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            refuse_repeated(command, rest, ctx)
        return name, command, rest


@click.group("keys", cls=_Keys, epilog=EXIT_STATUS)
def keys() -> None:
    """Add, list and revoke API keys.

    The file holds the SHA-256 digest of each key, never the key. A running server follows it within a second.
    """


_NAME_CHARACTERS = 200
_file_option = option_for(Settings, "api_keys_file")
_FILE_PARAMS: list[click.Parameter] = [_file_option, config_option]


def _creatable(option: click.Option) -> click.Option:
    """`add` needs no file."""
    option.help = (option.help or "").replace(", if it exists.", ". It is created if it does not exist.")
    return option


def _path(file: str | None, config: Path | None) -> Path:
    """Where the settings put the file. Raises ConfigError."""
    import os

    from frontend.access.keys_file import keys_path
    from frontend.config_found import find_settings
    from frontend.config_sources import load_settings

    if file is None:
        found = find_settings(config, os.environ)
        settings, _ = load_settings(config=found.config, environ=os.environ, dotenv=found.dotenv)
        file = settings.api_keys_file
    return keys_path(file)


def _key_name(_: click.Context, __: click.Parameter, value: str | None) -> str:
    name = (value or "").strip()
    if not name:
        raise WrongUsage("NAME is missing; say whose key it is: nacelle keys add NAME")
    if len(name) > _NAME_CHARACTERS or not name.isprintable():
        raise WrongUsage(
            f"NAME: must be 1 to {_NAME_CHARACTERS} printable characters, not {name[:60]!r}; shorten it"
        )
    return name


def _expiry(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """In Unix seconds."""
    if value is None:
        return None
    seconds = parse_duration(value)
    if seconds is not None and seconds > 0:
        return time.time() + seconds
    import datetime

    try:
        at = datetime.datetime.fromisoformat(value.strip())
    except ValueError:
        at = None
    if at is None:
        raise WrongUsage(
            f"--expires: must be a time such as 30d or 12h, or a date such as 2030-01-31, not {value[:60]!r}"
        )
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    if at.timestamp() <= time.time():
        raise WrongUsage(f"--expires: {value[:60]!r} is past; name a later time")
    return at.timestamp()


def _model_names(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for name in values:
        if not name.isprintable() or " " in name or not 0 < len(name) <= 200:
            raise WrongUsage(
                f"--model: must be a name or a pattern such as qwen*, without blanks, not {name[:60]!r}"
            )
    return values


@keys.command(
    "add",
    params=[
        click.Argument(["name"], metavar="NAME", required=False, default="", callback=_key_name),
        click.Option(
            ["--scope", "scopes"],
            multiple=True,
            type=click.Choice(get_args(Scope)),
            help="What the key is for: inference (default), admin or metrics; repeatable.",
        ),
        click.Option(
            ["--model", "models"],
            multiple=True,
            metavar="NAME",
            callback=_model_names,
            help="Model that the key may use, or a pattern such as qwen*; repeatable. Default: all.",
        ),
        click.Option(
            ["--expires"],
            metavar="TIME",
            callback=_expiry,
            help="Until when it is accepted: 30d, 12h, or a date such as 2030-01-31. Default: for ever.",
        ),
        click.Option(
            ["--requests-per-minute"],
            type=click.IntRange(min=0),
            metavar="N",
            help="Default: that of the server.",
        ),
        click.Option(
            ["--tokens-per-minute"],
            type=click.IntRange(min=0),
            metavar="N",
            help="Of prompts and answers together. Default: that of the server.",
        ),
        click.Option(
            ["--max-concurrent"],
            type=click.IntRange(min=0),
            metavar="N",
            help="Requests at the same time. Default: that of the server.",
        ),
        click.Option(
            ["--weight"],
            type=click.FloatRange(min=0, max=1000, min_open=True),
            default=1.0,
            metavar="WEIGHT",
            help="Its share of a busy model, compared with other keys.  [default 1]",
        ),
        _creatable(option_for(Settings, "api_keys_file")),
        config_option,
    ],
)
def add(name: str, **options: Any) -> None:
    """Add a key, and print it once: only its digest is stored.

    NAME says whose key it is. No other key may have this name, unless it was revoked.
    """
    import msgspec

    from frontend.access.keys import KeyRecord, digest, new_id, new_secret
    from frontend.access.keys_file import changing

    path = _path(options["api_keys_file"], options["config"])
    limited = ("requests_per_minute", "tokens_per_minute", "max_concurrent")
    secret = new_secret()
    with changing(path) as records:
        _check_free(name, records)
        is_first = not records
        record = KeyRecord(
            id=new_id(record.id for record in records),
            sha256=digest(secret),
            name=name,
            created=round(time.time()),
            expires=options["expires"],
            scopes=tuple(dict.fromkeys(options["scopes"])) or ("inference",),
            models=tuple(options["models"]) or None,
            limits=Limits(**{limit: options[limit] for limit in limited}),
            weight=options["weight"],
        )
        try:
            msgspec.convert(msgspec.to_builtins(record), KeyRecord)
        except msgspec.ValidationError as error:
            raise ConfigError(f"the key cannot be added: {error}") from error
        records.append(record)
    click.echo(secret)
    click.echo(f"Added {record.id} to {path}. The key is printed once and not stored: keep it now.", err=True)
    if is_first:
        click.echo("From now on, servers that use this file answer only requests with a key.", err=True)


def _check_free(name: str, records: "list[KeyRecord]") -> None:
    """`nacelle keys revoke NAME` must find one key. Raises WrongUsage."""
    shown = repr(name[:60])
    for record in records:
        if record.id == name:
            raise WrongUsage(f"{shown} is the id of another key; choose another name")
        if record.name == name and record.revoked is None:
            raise WrongUsage(
                f"{record.id} already has the name {shown}; choose another name, or revoke that key first: "
                f"nacelle keys revoke {record.id}"
            )


@keys.command(
    "list",
    params=[
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, without digests."),
        *_FILE_PARAMS,
    ],
)
def list_keys(as_json: bool, api_keys_file: str | None, config: Path | None) -> None:
    """List the keys, without the keys themselves."""
    import msgspec

    from frontend.access.keys_file import read_keys
    from frontend.cli.tables import print_table

    path = _path(api_keys_file, config)
    try:
        records = read_keys(path)[0].records
    except FileNotFoundError:
        records = ()
    now = time.time()
    if as_json:
        rows = [
            {**_described(msgspec.to_builtins(record)), "state": _state(record.refusal(now))}
            for record in records
        ]
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    if not records:
        click.echo(f"There are no keys in {path}; add one with nacelle keys add NAME")
        return
    print_table(*_table(records, now))


def _table(records: "Sequence[KeyRecord]", now: float) -> tuple[list[str], list[list[str]]]:
    """Headings and rows; limits and weights only where a key has any."""
    from frontend.cli.tables import printable

    columns: dict[str, list[str]] = {
        "ID": [record.id for record in records],
        "NAME": [printable(record.name) for record in records],
        "STATE": [_state(record.refusal(now)) for record in records],
        "CREATED": [_day(record.created) for record in records],
        "EXPIRES": ["never" if record.expires is None else _day(record.expires) for record in records],
        "SCOPES": [",".join(record.scopes) for record in records],
        "LIMITS": [_shown_limits(record.limits) for record in records],
        "WEIGHT": [f"{record.weight:g}" for record in records],
        "MODELS": ["all" if one.models is None else ",".join(one.models) or "none" for one in records],
    }
    for optional, default in (("LIMITS", "-"), ("WEIGHT", "1")):
        if set(columns[optional]) == {default}:
            del columns[optional]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _shown_limits(limits: Limits) -> str:
    given = (
        (limits.requests_per_minute, "requests/min"),
        (limits.tokens_per_minute, "tokens/min"),
        (limits.max_concurrent, "at once"),
    )
    return ", ".join(f"{amount} {unit}" for amount, unit in given if amount is not None) or "-"


def _described(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "sha256"}


def _state(refusal: str) -> str:
    return "valid" if not refusal else "revoked" if "revoked" in refusal else "expired"


def _day(seconds: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):  # no clock goes so far
        return "after 9999" if seconds > 0 else "before 0001"


@keys.command(
    "revoke",
    params=[
        click.Argument(["keys"], metavar="ID...", nargs=-1, required=True),
        *_FILE_PARAMS,
    ],
)
def revoke(keys: tuple[str, ...], api_keys_file: str | None, config: Path | None) -> None:
    """Let keys no longer be accepted.

    ID is as nacelle keys list shows it, or a NAME that one key has.
    """
    import msgspec

    from frontend.access.keys_file import changing

    path = _path(api_keys_file, config)
    now = round(time.time())
    with changing(path) as records:
        for wanted in keys:
            index = _index_of(wanted, records, path)
            if records[index].revoked is None:
                records[index] = msgspec.structs.replace(records[index], revoked=now)
    click.echo(f"Revoked {', '.join(keys)}")


def _index_of(wanted: str, records: "list[KeyRecord]", path: Path) -> int:
    """Raises ClickException, before anything is written."""
    by_id = [index for index, record in enumerate(records) if record.id == wanted]
    named = [index for index, record in enumerate(records) if record.name == wanted]
    valid = [index for index in named if records[index].revoked is None]
    found = by_id or valid or named
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(records[index].id for index in found[:5])
        raise click.ClickException(
            f"{len(found)} keys have the name {wanted[:60]!r} in {path}; name one by its id: {ids}"
        )
    raise click.ClickException(f"no key has the id or name {wanted[:60]!r} in {path}; see nacelle keys list")
