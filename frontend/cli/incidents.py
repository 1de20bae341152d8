"""`nacelle incidents`: what the servers of this store have recorded of the deaths of their hosts."""

import time
from pathlib import Path

import click
import msgspec

from frontend.cli.stores import STORE_PARAMS, json_option, open_store
from frontend.cli.tables import print_table, printable
from frontend.cli.units import shown_bytes, shown_seconds
from frontend.observability.incidents import INCIDENTS, Incident, stored

_HEADINGS = ("ID", "TIME", "MODEL", "CAUSE", "REQUESTS", "SUMMARY")
_SHOWN_CHARACTERS = 60


@click.command(
    params=[
        click.Argument(["incident"], required=False, metavar="[ID]"),
        json_option,
        *STORE_PARAMS,
    ]
)
def incidents(incident: str | None, as_json: bool, store: str | None, config: Path | None) -> None:
    """List the recorded deaths of engine hosts, or show one, to share it in a report.

    The records are in the store of this machine; no server is asked. They hold versions, the cause and the
    last lines of the host, and nothing of what clients wrote. Add --json to share one.
    """
    folder = open_store(store, config).root / INCIDENTS
    found = stored(folder)
    if incident is not None:
        found = [one for one in found if one.id.startswith(incident)]
        if len(found) != 1:
            problem = "several incidents begin" if found else "no incident begins"
            raise click.ClickException(
                f"{problem} with {incident[:_SHOWN_CHARACTERS]!r}; nacelle incidents lists them"
            )
    if as_json:
        body = found[0] if incident is not None else found
        click.echo(msgspec.json.format(msgspec.json.encode(body)))
    elif incident is not None:
        click.echo("\n".join(described(found[0])))
    elif found:
        print_table(_HEADINGS, [row_of(one) for one in reversed(found)])
    else:
        click.echo("No host has died.")


def row_of(incident: Incident) -> tuple[str, ...]:
    return (
        incident.id,
        shown_time(incident.at),
        f"{incident.model}/{incident.replica}",
        incident.cause,
        str(incident.requests.held),
        printable(incident.summary),
    )


def described(incident: Incident) -> list[str]:
    """One incident in lines."""
    requests = msgspec.structs.asdict(incident.requests)
    facts = {
        "incident": incident.id,
        "time": shown_time(incident.at),
        "model": f"{incident.model}/{incident.replica}",
        "architecture": incident.architecture,
        "weights": incident.weights,
        "device": f"{incident.device} ({incident.device_name})" if incident.device_name else incident.device,
        "cause": incident.cause,
        "phase": incident.phase,
        "lived": shown_seconds(incident.lived_seconds),
        "memory": shown_bytes(incident.memory_bytes),
        "requests": ", ".join(f"{count} {name}" for name, count in requests.items() if count) or "none",
        "versions": ", ".join(f"{name} {version}" for name, version in incident.versions.items()),
    }
    lines = [f"{name:13} {value}" for name, value in facts.items() if value]
    lines = [*lines, "", incident.summary, *(f"  {line}" for line in incident.stderr)]
    return [printable(line) for line in lines]


def shown_time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
