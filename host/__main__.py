"""A host's entry: limits, launch message, load, loop, exit status.

python -P -m host CONTROL_FD LAUNCH_FD REQUEST_ARENA_FD RESULT_ARENA_FD PROGRESS_FD
"""

import contextlib
import gc
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import zmq

from host import linux
from host.engines.base import Engine, EngineStarved, ReportsPhases
from host.engines.load import load_engine
from host.faults import FaultyEngine
from host.load_errors import LoadFailed, explain
from host.loop import SEND_SECONDS, FrontendGone, Loop
from host.native_errors import summary
from host.results import Results
from ipc import huge_pages
from ipc.arena import ArenaConsumer, ArenaProducer
from ipc.channel import Channel, ChannelError, MessageTooLarge, connect, unpack_launch
from ipc.in_use import mark
from ipc.messages import DraftModel, Fatal, Launch, Ready, ToFrontend, ToHost
from ipc.progress import Phase, ProgressWriter

EXIT_LOST = 1  # the engine, the channel or the load failed; a Fatal says why
EXIT_FRONTEND_GONE = 3
_LINGER_SECONDS = 2.0
_DETAIL_CHARACTERS = 64 * 1024  # of a traceback, its end

_stop_requested = False


def _on_sigterm(_signal: int, _frame: object) -> None:
    global _stop_requested
    _stop_requested = True


def main(
    control_fd: int, launch_fd: int, request_arena_fd: int, result_arena_fd: int, progress_fd: int
) -> NoReturn:
    """Serve one replica. Ends the process without running native destructors, which may crash or hang."""
    linux.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the group; the frontend decides
    signal.signal(signal.SIGTERM, _on_sigterm)
    launch = unpack_launch(launch_fd)
    os.close(launch_fd)
    if os.getppid() != launch.frontend_pid:  # it died before the death signal was set
        _exit(EXIT_FRONTEND_GONE)
    _limit(launch)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    channel = connect(context, launch.endpoint)
    requests = ArenaConsumer(request_arena_fd)
    results = Results(ArenaProducer.from_fd(result_arena_fd))
    status = EXIT_LOST
    try:
        _serve(launch, channel, requests, results, ProgressWriter(progress_fd), control_fd)
        status = 0
    except FrontendGone:
        _exit(EXIT_FRONTEND_GONE)
    except LoadFailed as failed:
        _give_up(channel, Fatal(failed.failure.reason, failed.failure.permanent))
    except Exception as error:
        if isinstance(error, ChannelError) and not isinstance(error, MessageTooLarge):
            _exit(EXIT_FRONTEND_GONE)
        _give_up(channel, Fatal(summary(error), starved=isinstance(error, EngineStarved)))
    channel.close(linger=_LINGER_SECONDS)
    context.term()
    _exit(status)


def _limit(launch: Launch[Any]) -> None:
    """All that must precede the import of OpenVINO."""
    linux.forbid_core_dumps()
    linux.volunteer_for_oom_killer()
    linux.restrict_to_cpus(launch.cpus)
    if launch.threads:
        os.environ["OMP_NUM_THREADS"] = str(launch.threads)


def _serve(
    launch: Launch[Any],
    channel: Channel[ToFrontend, ToHost],
    requests: ArenaConsumer,
    results: Results,
    progress: ProgressWriter,
    control_fd: int,
) -> None:
    progress.enter(Phase.LOADING, launch.load_seconds)
    engine = _load(launch, results, progress)
    gc.freeze()  # what loading left is never garbage; do not look through it again
    huge_pages.collapse(huge_pages.SECONDS)
    channel.send([Ready(engine.card)], SEND_SECONDS)
    Loop(channel, requests, results, progress, engine, control_fd, launch.stall_seconds).run(
        lambda: _stop_requested
    )


def _load(launch: Launch[Any], results: Results, progress: ProgressWriter) -> Engine:
    """Raises LoadFailed."""
    for folder in _folders_of(launch):
        mark(folder)  # until this process ends
    try:
        engine = load_engine(launch, results)
    except Exception as error:
        raise LoadFailed(explain(error, launch)) from error
    if isinstance(engine, ReportsPhases):
        engine.report_to(progress)
    return FaultyEngine(engine) if launch.faults else engine


def _folders_of(launch: Launch[Any]) -> list[Path]:
    """All folders of models that this process reads, which may be those of others."""
    draft = getattr(launch.options, "speculation", None)
    detector = getattr(launch.options, "voice_activity_model", "")
    folders = [launch.path, draft.path if isinstance(draft, DraftModel) else ""]
    return [Path(folder) for folder in folders if folder] + ([Path(detector).parent] if detector else [])


def _give_up(channel: Channel[ToFrontend, ToHost], fatal: Fatal) -> None:
    """Called while the exception is being handled, whose traceback is for the log at level debug."""
    fatal.detail = traceback.format_exc()[-_DETAIL_CHARACTERS:]
    with contextlib.suppress(ChannelError):
        channel.send([fatal], SEND_SECONDS)


def _exit(status: int) -> NoReturn:
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
