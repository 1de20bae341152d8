"""What `nacelle doctor` knows of a machine, and what it says about it."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from frontend.machine.hardware import CpuFacts, NodeFacts, PciFacts
from ipc.machine import MachineReport

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line of the report. `remedy` is a command or what to change; empty if nothing is wrong."""

    area: str
    level: Level
    text: str
    remedy: str = ""


class UserFacts(msgspec.Struct, frozen=True):
    name: str
    groups: tuple[str, ...]
    in_container: bool = False


class MemoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """In bytes."""

    total: int
    available: int
    group_limit: int | None = None  # of the control group
    group_used: int = 0
    swap_total: int = 0
    swap_used: int = 0
    huge_pages: str = ""  # transparent ones: always, madvise or never; empty if unknown
    reserved_huge_pages: int = 0  # bytes set apart for programs that ask for them


class DiskFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A folder in which the server keeps files, or the folder above it that exists."""

    use: Literal["store", "spool"]
    path: str
    free: int  # bytes
    writable: bool
    in_memory: bool = False  # its file system is in memory
    error: str = ""  # the setting's, which names no usable folder


class PortFacts(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    use: Literal["server", "ollama"]
    error: str = ""  # why nobody could listen on it now; empty: it is free
    holder: str = ""  # the program that listens on it, as far as this user may know
    pid: int = 0


class VersionFacts(msgspec.Struct, frozen=True):
    """Of installed packages; None: not installed."""

    python: tuple[int, ...]
    packages: Mapping[str, str | None]


class ExtraFacts(msgspec.Struct, frozen=True):
    """An optional part of the installation, and the packages of it that are missing."""

    name: str
    purpose: str
    missing: tuple[str, ...]


class SelfTest(msgspec.Struct, frozen=True, kw_only=True):
    """One device's self-test. `model` is empty where a multiplication of matrices took a model's place."""

    device: str
    model: str = ""
    error: str = ""  # empty: it passed
    load_seconds: float = 0.0
    token_seconds: float = 0.0


class VariableFacts(msgspec.Struct, frozen=True):
    """A NACELLE_* variable or settings file that looks wrong."""

    text: str
    is_error: bool  # `nacelle serve` refuses it


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    versions: VersionFacts
    user: UserFacts
    cpu: CpuFacts
    memory: MemoryFacts
    disks: tuple[DiskFacts, ...]
    ports: tuple[PortFacts, ...]
    pci: tuple[PciFacts, ...] = ()
    nodes: tuple[NodeFacts, ...] = ()
    libraries: dict[str, bool] = {}  # shared libraries of drivers: whether the loader finds them
    wanted_devices: tuple[str, ...] = ()  # kinds that the settings name, such as GPU
    machine: MachineReport | None = None  # None: OpenVINO could not be asked
    machine_error: str = ""
    self_tests: tuple[SelfTest, ...] = ()
    extras: tuple[ExtraFacts, ...] = ()
    variables: tuple[VariableFacts, ...] = ()
