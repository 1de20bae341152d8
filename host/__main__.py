"""A host's entry: limits, launch message, load, loop, exit status.

python -P -m host CONTROL_FD REQUEST_ARENA_FD RESULT_ARENA_FD PROGRESS_FD
"""

import gc
import os
import signal
import sys
import traceback
from typing import Any, NoReturn

import zmq

from host import linux
from host.engines.base import Engine, EngineLost, EngineStarved
from host.engines.load import load_engine
from host.faults import FaultyEngine
from host.loop import SEND_SECONDS, FrontendGone, Loop
from host.native_errors import summary
from host.results import Results
from ipc.arena import ArenaConsumer, ArenaProducer
from ipc.channel import Channel, ChannelError, connect, receive_launch
from ipc.messages import Fatal, Launch, Ready, ToFrontend, ToHost
from ipc.progress import Phase, ProgressWriter

EXIT_LOST = 1  # the engine, the channel or the load failed; a Fatal says why
EXIT_FRONTEND_GONE = 3
_LINGER_SECONDS = 2.0

_stop_requested = False


def _on_sigterm(_signal: int, _frame: object) -> None:
    global _stop_requested
    _stop_requested = True


def main(control_fd: int, request_arena_fd: int, result_arena_fd: int, progress_fd: int) -> NoReturn:
    """Serve one replica. Ends the process without running native destructors, which may crash or hang."""
    linux.die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the group; the frontend decides
    signal.signal(signal.SIGTERM, _on_sigterm)
    launch = _read_launch(control_fd)
    _limit(launch)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    channel = connect(context, launch.endpoint)
    requests = ArenaConsumer(request_arena_fd)
    results = Results(ArenaProducer.from_fd(result_arena_fd))
    try:
        _serve(launch, channel, requests, results, ProgressWriter(progress_fd), control_fd)
        status = 0
    except (FrontendGone, ChannelError):
        _exit(EXIT_FRONTEND_GONE)
    except Exception as error:
        status = EXIT_LOST
        _send_fatal(channel, error)
    channel.close(linger=_LINGER_SECONDS)
    context.term()
    _exit(status)


def _read_launch(control_fd: int) -> Launch[Any]:
    try:
        with open(control_fd, "rb", closefd=False) as pipe:
            launch = receive_launch(pipe)
    except EOFError:
        _exit(EXIT_FRONTEND_GONE)
    if os.getppid() != launch.frontend_pid:  # it died before the death signal was set
        _exit(EXIT_FRONTEND_GONE)
    return launch


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
    engine = _load(launch, results)
    gc.freeze()  # what loading left is never garbage; do not look through it again
    channel.send([Ready(engine.card)], SEND_SECONDS)
    Loop(channel, requests, results, progress, engine, control_fd, launch.stall_seconds).run(
        lambda: _stop_requested
    )


def _load(launch: Launch[Any], results: Results) -> Engine:
    try:
        engine = load_engine(launch, results)
    except Exception as error:
        raise EngineLost(f"cannot load {launch.path} on {launch.device}: {summary(error)}") from error
    return FaultyEngine(engine) if launch.faults else engine


def _send_fatal(channel: Channel[ToFrontend, ToHost], error: Exception) -> None:
    traceback.print_exception(error)
    try:
        channel.send([Fatal(summary(error), starved=isinstance(error, EngineStarved))], SEND_SECONDS)
    except ChannelError:
        return


def _exit(status: int) -> NoReturn:
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
