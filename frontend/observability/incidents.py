"""A record of each death of a host, which operators can share: it holds nothing that a client wrote."""

import logging
import os
import platform
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from frontend.observability.redaction import without_paths, without_prompts
from frontend.supervision.death import Death, signal_name
from ipc.installed import version_of

INCIDENTS = "incidents"  # the folder in the store
REMEMBERED = 200
STORED = 200  # files
_LINES = 20  # of standard error
_LINE_CHARACTERS = 300

_PACKAGES = {"nacelle": "nacelle-server", "openvino": "openvino", "openvino_genai": "openvino-genai"}

log = logging.getLogger("nacelle.incidents")


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the requests that the host held; choices of one request count each."""

    held: int = 0
    resumed: int = 0
    restarted: int = 0
    blamed: int = 0
    undecided: int = 0  # ended without blame, as the machine was too busy to find out
    given_up: int = 0  # innocent, but what their clients have seen cannot be produced again


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are in bytes."""

    id: str
    at: float  # in Unix seconds
    model: str
    replica: int
    device: str
    cause: str  # as in the metric of host restarts
    phase: str  # of the host
    signal: str | None = None
    exit_code: int | None = None
    summary: str = ""
    versions: dict[str, str] = {}
    device_name: str | None = None  # the device's full name
    architecture: str | None = None  # of the model
    engine: str | None = None
    weights: str | None = None  # their formats
    lived_seconds: float = 0.0
    memory_bytes: int = 0  # that the host held shortly before
    stderr: list[str] = []  # its last lines
    requests: Outcomes = Outcomes()


class Incidents:
    """The latest, oldest first; each is also a file where there is a folder for them."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix seconds."""
        self._folder = folder
        self._clock = clock
        self._kept: deque[Incident] = deque(stored(folder) if folder else (), maxlen=REMEMBERED)
        self.on_new: list[Callable[[Incident], None]] = []

    def __iter__(self) -> "reversed[Incident]":
        """The latest first."""
        return reversed(list(self._kept))

    def get(self, incident_id: str) -> Incident | None:
        return next((incident for incident in self if incident.id == incident_id), None)

    def last_of(self, model: str, replica: int) -> Incident | None:
        return next((one for one in self if (one.model, one.replica) == (model, replica)), None)

    def record(
        self,
        incident_id: str,
        death: Death,
        requests: Outcomes,
        bodies: Sequence[bytes],
        facts: Mapping[str, str | None],
    ) -> Incident:
        """`bodies` are those of the requests that the host held: what they contain is not recorded. `facts`:
        of the model, by names of Incident's fields."""
        lines = [line[:_LINE_CHARACTERS] for line in death.stderr_tail[-_LINES:]]
        summary, *lines = (without_paths(line) for line in without_prompts([death.summary, *lines], bodies))
        incident = Incident(
            id=incident_id,
            at=self._clock(),
            model=death.model,
            replica=death.replica,
            device=death.device,
            cause=death.cause,
            phase=death.phase,
            signal=None if death.signal is None else signal_name(death.signal),
            exit_code=death.exit_code,
            summary=summary,
            versions=versions(),
            lived_seconds=round(death.seconds, 3),
            memory_bytes=death.memory_bytes,
            stderr=lines,
            requests=requests,
            **facts,
        )
        self._kept.append(incident)
        if self._folder is not None:
            _store(self._folder, incident)
        for told in self.on_new:
            told(incident)
        return incident


def new_id() -> str:
    return f"inc_{uuid.uuid4().hex[:16]}"


def outcomes_of(held: int, verdicts: Counter[str], resumed: int) -> Outcomes:
    """`verdicts` are counted by the names of recovery's verdicts; `resumed`: of those that continue, how many
    had progress."""
    return Outcomes(
        held=held,
        resumed=resumed,
        restarted=verdicts["Continue"] - resumed + verdicts["StartOver"],
        blamed=verdicts["Blame"],
        undecided=verdicts["Undecided"],
        given_up=verdicts["GiveUp"],
    )


def versions() -> dict[str, str]:
    """Of what takes part in serving a model."""
    found = {name: _installed(package) for name, package in _PACKAGES.items()}
    found["python"] = platform.python_version()
    found["kernel"] = platform.release()
    return {name: version for name, version in found.items() if version}


def _installed(package: str) -> str:
    try:
        return version_of(package)
    except ModuleNotFoundError:  # PackageNotFoundError is one
        return ""


# --- files ----------------------------------------------------------------------------------------------


def stored(folder: Path) -> list[Incident]:
    """Those in a folder, oldest first. What cannot be read counts as absent."""
    found = []
    for path in _files(folder)[-REMEMBERED:]:
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Incident))
        except (OSError, ValueError, RecursionError):
            continue
    return found


def _files(folder: Path) -> list[Path]:
    """By age: their names begin with the time."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError:
        return []


def _store(folder: Path, incident: Incident) -> None:
    """Only its owner can read it. A full disk must not disturb a recovery."""
    path = folder / f"{incident.at:020.6f}-{incident.id}.json"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(incident), indent=2) + b"\n")
        for old in _files(folder)[:-STORED]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("an incident could not be stored: %s", error)
