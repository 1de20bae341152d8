"""Hosts as processes: their start, their limits, their end. The synthetic engine, so that each is quick."""

import os
import resource
import signal
import time
from pathlib import Path
from typing import get_args

import pytest

from host.engines.load import ENGINES, load_engine
from host.loop import HANDLERS
from host.results import Results
from ipc.arena import ArenaProducer, Lease
from ipc.errors import ErrorCode
from ipc.messages import (
    TASKS,
    TO_HOST_TYPE,
    Fatal,
    Gauges,
    Generate,
    Ready,
    Release,
    Sampling,
    Task,
    TextInput,
    TextPrompt,
    TokenPrompt,
    Work,
)
from ipc.model_files import parts_of
from ipc.progress import Phase
from tests.host.harness import HostUnderTest, chat, host_running, launch_of

SLOW = {"synthetic_tokens_per_second": 50.0}


def synthetic(**changes: object) -> HostUnderTest:
    return HostUnderTest(launch_of("nowhere", engine="synthetic", **changes))


def test_it_says_ready_and_generates() -> None:
    with host_running(launch_of("nowhere", engine="synthetic")) as host:
        assert host.first(Ready).card.device_name == "synthetic"
        outcome = host.run(chat("hello"), max_tokens=5)
        assert (outcome.text, outcome.finish_reason) == (" the engine turns and the", "length")
        assert len(outcome.token_ids) == 5


def test_it_answers_questions_about_tokens() -> None:
    with host_running(launch_of("nowhere", engine="synthetic")) as host:
        answer = host.ask(host.share(TextPrompt("one two three")))
        assert (len(answer.token_ids), answer.token_texts[0]) == (3, " the")
        assert host.text_of(answer.token_ids) == "".join(answer.token_texts)


def test_limits_are_set_before_the_engine_loads() -> None:
    cpu = min(os.sched_getaffinity(0))
    with host_running(launch_of("nowhere", engine="synthetic", cpus=[cpu])) as host:
        pid = host.process.pid
        assert os.sched_getaffinity(pid) == {cpu}
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) > 0


def test_an_idle_host_keeps_showing_that_it_lives() -> None:
    with host_running(launch_of("nowhere", engine="synthetic")) as host:

        def beat() -> int:
            progress = host.progress.read()
            return progress.beat if progress and progress.phase is Phase.IDLE else -1

        host.wait(lambda: beat() > 0)
        first = beat()
        host.wait(lambda: beat() > first + 1)


def test_a_step_has_the_launchs_budget() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", stall_seconds=17.0, **SLOW)) as host:
        host.start("one two", max_tokens=1000)

        def in_step() -> bool:
            progress = host.progress.read()
            return progress is not None and progress.phase is Phase.STEP and round(progress.budget) == 17

        host.wait(in_step)


def test_drain_finishes_what_runs_and_exits_with_0() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", **SLOW)) as host:
        request = host.start("one two", max_tokens=20)
        host.drain()
        assert host.wait_exit() == 0
        assert len(host.outcomes[request].token_ids) == 20


def test_sigterm_stops_a_draining_host_at_once_with_0() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", **SLOW)) as host:
        request = host.start("one two", max_tokens=10_000)
        host.wait(lambda: host.outcomes[request].token_ids)
        host.drain()
        host.process.terminate()
        assert host.wait_exit(deadline=5) == 0


def test_a_service_managers_sigterm_to_all_processes_leaves_the_drain_to_the_frontend() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", **SLOW)) as host:
        request = host.start("one two", max_tokens=20)
        host.wait(lambda: host.outcomes[request].token_ids)
        host.process.terminate()
        assert len(host.finish(request)[0].token_ids) == 20
        host.drain()
        assert host.wait_exit(deadline=5) == 0


def test_a_prompt_that_cannot_fit_the_context_is_refused_unread() -> None:
    with host_running(launch_of("nowhere", engine="synthetic")) as host:
        error = host.refusal(host.share(TextPrompt("a " * 4_000_000)))
        assert error.code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
        assert host.run("still there?", max_tokens=1).finish_reason == "length"


def test_an_answer_that_no_message_can_hold_is_refused() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", context_length=4_000_000)) as host:
        error = host.refusal(host.share(TextPrompt("a " * 4_000_000)))
        assert error.code is ErrorCode.INVALID_VALUE
        assert "the answer is" in error.message
        assert host.run("still there?", max_tokens=1).finish_reason == "length"


def test_ctrl_c_in_the_terminal_is_not_for_hosts() -> None:
    with host_running(launch_of("nowhere", engine="synthetic")) as host:
        host.process.send_signal(signal.SIGINT)
        assert host.run("still there?", max_tokens=1).finish_reason == "length"


@pytest.mark.parametrize("busy", [False, True])
def test_it_ends_when_the_control_pipe_closes(busy: bool) -> None:
    with host_running(launch_of("nowhere", engine="synthetic", **SLOW)) as host:
        if busy:
            request = host.start("one two", max_tokens=10_000)
            host.wait(lambda: host.outcomes[request].token_ids)
        os.close(host.control)
        host.control = -1
        assert host.wait_exit(deadline=5) == 3


def test_it_ends_if_its_parent_is_not_who_launched_it() -> None:
    host = synthetic(frontend_pid=os.getpid() + 1)
    try:
        assert host.wait_exit() == 3
        assert host.received == []
    finally:
        host.close()


def test_cancel_empties_the_engine() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", **SLOW)) as host:
        request = host.start("one two", max_tokens=10_000)
        host.wait(lambda: host.gauges is not None and host.gauges.running == 1)
        host.cancel(request)
        host.wait(lambda: host.gauges is not None and host.gauges.running == 0, deadline=2)
        assert not host.outcomes[request].ended


def test_the_context_is_checked() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", context_length=100)) as host:
        assert host.run("word " * 100, max_tokens=51).error.code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
        assert len(host.run("word " * 50, max_tokens=51).token_ids) == 50
        assert host.run(TokenPrompt([10**6])).error.param == "prompt"


def test_a_prompt_in_shared_memory_is_read_and_released() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", context_length=1_000_000)) as host:
        outcome = host.run(host.share(TextInput(TextPrompt("word " * 100_000))), max_tokens=1)
        assert outcome.prompt_tokens == 100_000
        assert host.arena.leased_bytes == 0


@pytest.mark.parametrize(
    "lease",
    [Lease(0, 1, 2**40, 10), Lease(0, 1, -4096, 10), Lease(0, 1, 0, 64)],
    ids=["past", "before", "empty"],
)
def test_a_bad_lease_is_fatal(lease: Lease) -> None:
    with host_running(launch_of("nowhere", engine="synthetic")) as host:
        host.channel.send([Generate(1, lease, Sampling())])
        assert host.wait_exit() == 1
        assert host.first(Fatal).reason.startswith("payload:")
        assert not any(isinstance(message, Release) for message in host.received)


@pytest.mark.parametrize(
    ("marker", "status"), [("segv", -signal.SIGSEGV), ("abort", -signal.SIGABRT), ("exit", 0)]
)
def test_an_injected_fault_ends_the_process(marker: str, status: int) -> None:
    with host_running(launch_of("nowhere", engine="synthetic")) as host:
        host.start(chat(f"[[fault:{marker}@5]]"), max_tokens=10)
        assert host.wait_exit() == status


def test_a_fault_strikes_before_its_token_is_sent() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", **SLOW)) as host:
        request = host.start("[[fault:segv@5]]", max_tokens=10)
        host.wait_exit()
        assert len(host.outcomes[request].token_ids) == 4


def test_an_injected_hang_stays_inside_the_step() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", stall_seconds=0.5)) as host:
        host.start("[[fault:hang]]")

        def overdue() -> bool:
            progress = host.progress.read()
            return (
                progress is not None and progress.phase is Phase.STEP and time.monotonic() > progress.deadline
            )

        host.wait(overdue)


def test_an_injected_raise_fails_its_request_alone() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", **SLOW)) as host:
        neighbour = host.start("hello", max_tokens=20)
        guilty = host.start("[[fault:raise@3]]", max_tokens=20)
        ok, bad = host.finish(neighbour, guilty)
        assert (ok.finish_reason, len(ok.token_ids)) == ("length", 20)
        assert (bad.error.code, len(bad.token_ids)) == (ErrorCode.ENGINE_FAILED, 3)


def test_markers_mean_nothing_unless_faults_are_on() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", faults=False)) as host:
        assert host.run("[[fault:segv]]", max_tokens=2).finish_reason == "length"


def test_gauges_are_few() -> None:
    with host_running(launch_of("nowhere", engine="synthetic", synthetic_tokens_per_second=200.0)) as host:
        host.finish(*(host.start("hello", max_tokens=200) for _ in range(4)))
        host.wait(lambda: host.gauges is not None and host.gauges.running == 0)
        assert sum(isinstance(message, Gauges) for message in host.received) <= 10


def test_every_message_to_a_host_has_a_handler() -> None:
    others = {kind for kind in get_args(TO_HOST_TYPE) if not issubclass(kind, Work)}
    assert set(HANDLERS) == others


def test_every_engine_is_of_a_task_and_those_with_a_model_have_their_files_checked() -> None:
    assert set(ENGINES) == {engine for task in TASKS for engine in task.engines}
    assert {name for name, entry in ENGINES.items() if entry.files is None} == {"synthetic"}
    assert all(parts_of((), entry.files) for entry in ENGINES.values() if entry.files is not None)


@pytest.mark.parametrize(("task", "engine"), [(task, engine) for task in TASKS for engine in task.engines])
def test_every_engine_of_every_task_can_be_loaded(tmp_path: Path, task: Task, engine: str) -> None:
    launch = launch_of(tmp_path, engine=engine, options=task.options())
    results = Results(ArenaProducer("results", 4096))
    if engine == "synthetic":
        assert load_engine(launch, results).card.device_name == "synthetic"
    else:
        with pytest.raises(Exception, match=r"lacks openvino_model\.xml|config\.json"):
            load_engine(launch, results)
