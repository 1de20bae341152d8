"""Records of hosts' deaths: what they hold, how many are kept, and where."""

import itertools
import signal
import stat
from typing import Any

import msgspec
import pytest

from frontend.errors import RequestBlamed
from frontend.incident_log import IncidentLog
from frontend.observability.incidents import REMEMBERED, Incidents, Outcomes, new_id
from frontend.supervision.death import Death
from tests.frontend.routing.hosts import History, error_of

DEATH = Death("m", 1, "GPU", 77, "step", seconds=3.25, signal=int(signal.SIGSEGV), memory_bytes=1000)


def record(incidents: Incidents, **facts: Any) -> str:
    return incidents.record(new_id(), DEATH, Outcomes(held=2, resumed=2), [], facts).id


def recorded(history: History) -> Incidents:
    incidents = Incidents(clock=lambda: 5.0)
    log = IncidentLog(incidents)
    history.route.jobs.on_settled = lambda settled: log.settled(history.route, settled)
    return incidents


def test_the_latest_come_first_and_the_oldest_are_forgotten():
    incidents = Incidents()
    ids = [record(incidents) for _ in range(REMEMBERED + 2)]
    assert [one.id for one in incidents] == ids[:1:-1]
    assert incidents.get(ids[0]) is None
    last = incidents.last_of("m", 1)
    assert last is not None
    assert last.id == ids[-1]
    assert incidents.last_of("m", 0) is None


def test_files_survive_a_restart_and_only_their_owner_reads_them(tmp_path):
    folder = tmp_path / "store" / "incidents"
    before = Incidents(folder, itertools.count(1.0).__next__)
    ids = [record(before, architecture="Qwen3ForCausalLM", weights="int4") for _ in range(3)]
    files = sorted(folder.iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files[1].write_text("{")
    again = list(Incidents(folder))
    assert [one.id for one in again] == [ids[2], ids[0]]
    assert again == [one for one in before if one.id != ids[1]]
    assert again[0].signal == "SIGSEGV"


def test_a_folder_that_cannot_be_written_is_no_harm(tmp_path):
    (tmp_path / "incidents").write_text("")
    incidents = Incidents(tmp_path / "incidents")
    assert incidents.get(record(incidents)) is not None


def test_a_kill_from_outside_is_recorded_with_what_became_of_the_requests():
    history = History()
    incidents = recorded(history)
    history.ask("a")
    history.accept()
    history.step()
    history.ask("b")
    history.die(number=signal.SIGKILL)
    (incident,) = incidents
    assert incident.requests == Outcomes(held=2, resumed=1, restarted=1)
    assert (incident.cause, incident.signal, incident.at) == ("SIGKILL", "SIGKILL", 5.0)
    assert incident.versions["python"]


def test_a_blamed_request_can_be_listed_reproduced_and_released():
    history = History()
    incidents = recorded(history)
    stream = history.ask("a")
    for _ in range(2):
        history.die(number=signal.SIGSEGV)
        history.ready_again()
    assert error_of(stream) is not None
    assert next(iter(incidents)).requests.blamed == 1
    with pytest.raises(RequestBlamed):
        history.ask("a")
    (refusal,) = history.route.jobs.refusals
    assert refusal.incident == next(iter(incidents)).id
    assert (refusal.task, refusal.deaths) == ("generate", 2)
    assert history.route.jobs.refusals.release(refusal.id)
    assert not history.route.jobs.refusals.release(refusal.id)
    history.ask("a")  # is accepted again


def test_a_death_that_was_asked_for_is_no_incident():
    history = History()
    incidents = recorded(history)
    asked_for = msgspec.structs.replace(DEATH, expected=True, replica=0)
    history.route.died(history.route.replicas[0], asked_for)
    assert list(incidents) == []
    history.route.died(history.route.replicas[0], DEATH)
    assert len(list(incidents)) == 1
