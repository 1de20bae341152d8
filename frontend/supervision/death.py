"""What is known about a host's death, in words an operator and a client can use."""

import signal

import msgspec

# What a host was doing, by its phase; a replica on another server has states instead, which are not shown.
_MEANWHILE = {
    "starting": "while starting",
    "loading": "while loading the model",
    "idle": "while idle",
    "step": "during an engine step",
    "media": "while processing images or loading the model again",
}

_TAIL_IN_MESSAGE = 3  # stderr lines quoted to clients; the log has all that were kept

# How hosts and allocators say that there is no memory: C++, OpenVINO, the kernel, Python, OpenCL, Level Zero.
_OUT_OF_MEMORY = (
    "too little memory",
    "bad_alloc",
    "Failed to allocate",
    "Cannot allocate memory",
    "MemoryError",
    "CL_MEM_OBJECT_ALLOCATION_FAILURE",
    "CL_OUT_OF_HOST_MEMORY",
    "ZE_RESULT_ERROR_OUT_OF",
)


class Death(msgspec.Struct, frozen=True):
    """How one host incarnation ended."""

    model: str
    replica: int
    device: str
    pid: int
    phase: str
    expected: bool = False  # it was told to exit
    killed: bool = False  # an administrator asked for the SIGKILL
    seconds: float = 0.0  # that it lived
    exit_code: int | None = None  # of a normal exit
    signal: int | None = None  # that ended it
    stalled: bool = False  # killed by our watchdog
    starved: bool = False  # it had too little CPU to be judged by its lack of progress
    condemned: str | None = None  # why we killed it, other than that
    out_of_memory: bool = False  # the kernel's OOM killer struck at that time
    fatal: str | None = None  # the host's own last word
    memory_bytes: int = 0  # that was resident shortly before
    permanent: bool = False  # the load failed, and would fail again
    stderr_tail: tuple[str, ...] = ()
    lost: str | None = None  # of a replica on another server: how its connection ended

    @property
    def implicates(self) -> bool:
        """Whether what the host computed may be the reason: not where somebody outside sent a SIGKILL, it
        left as it was told, or only the connection to it is known to be lost."""
        if self.lost is not None:
            return False
        if self.stalled or self.condemned is not None or self.out_of_memory:
            return True
        return self.signal != signal.SIGKILL and self.exit_code != 0

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether with less to hold it might have lived."""
        words = (self.fatal or "", *self.stderr_tail)
        return self.out_of_memory or any(sign in word for word in words for sign in _OUT_OF_MEMORY)

    @property
    def fields(self) -> dict[str, object]:
        """For the log: everything but the words."""
        return {
            "model": self.model,
            "replica": self.replica,
            "device": self.device,
            "pid": self.pid,
            "cause": self.cause,
            "phase": self.phase,
            "exit_code": self.exit_code,
            "lived_seconds": round(self.seconds, 1),
            "stderr": list(self.stderr_tail),
        }

    @property
    def cause(self) -> str:
        """A label of few values, for metrics."""
        if self.lost is not None:
            return "lost"
        if self.stalled:
            return "starved" if self.starved else "stalled"
        if self.condemned is not None:
            return "condemned"
        if self.killed:
            return "killed"
        if self.fatal is not None:
            return "fatal"
        if self.out_of_memory:
            return "out_of_memory"
        return "exit" if self.signal is None else signal_name(self.signal)

    @property
    def summary(self) -> str:
        """One sentence without stderr."""
        if self.lost is not None:
            return f"{self.model} at {self.device} was lost: {self.lost}"
        if self.permanent:
            return f"{self.model} on {self.device}: {self.fatal}"
        if self.stalled and self.starved:
            how = "got so little CPU time that it made no progress for very long and was killed (SIGKILL)"
        elif self.stalled:
            how = "made no progress within its budget and was killed (SIGKILL)"
        elif self.condemned is not None:
            how = f"was killed (SIGKILL): {self.condemned}"
        elif self.killed:
            how = "was killed by an administrator (SIGKILL)"
        elif self.fatal is not None:
            how = f"gave up: {self.fatal}"
        elif self.out_of_memory:
            how = "was killed because the machine was out of memory (SIGKILL)"
        elif self.signal is not None:
            how = f"died of {signal_name(self.signal)}"
        else:
            how = f"exited with status {self.exit_code}"
        words = f"the engine host of {self.model} on {self.device} {how} {_MEANWHILE.get(self.phase, '')}"
        return words.rstrip()

    @property
    def message(self) -> str:
        """The summary with the last stderr lines."""
        if not self.stderr_tail:
            return self.summary
        return f"{self.summary}; last output: {' | '.join(self.stderr_tail[-_TAIL_IN_MESSAGE:])}"


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
