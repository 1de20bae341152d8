"""Collects the facts for `nacelle doctor`. Judges nothing; a fact that cannot be read is left out."""

import getpass
import grp
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil

from frontend.config import ConfigError, Settings
from frontend.config_environment import Note
from frontend.config_found import settings_here
from frontend.doctor.devices import LEVEL_ZERO, NPU_DRIVER, OPENCL
from frontend.doctor.facts import (
    DiskFacts,
    ExtraFacts,
    Facts,
    MemoryFacts,
    SelfTest,
    UserFacts,
    VariableFacts,
    VersionFacts,
)
from frontend.doctor.ports import port_facts
from frontend.doctor.self_test import StoredText, self_test, smallest_text_model
from frontend.machine import cgroups
from frontend.machine.devices import PROBE_SECONDS, ProbeFailed, ask_devices
from frontend.machine.hardware import cpu_facts, device_nodes, intel_accelerators
from frontend.models.reporter import Silent
from frontend.models.root import store_root
from frontend.models.store import Store
from frontend.spool_folder import is_in_memory, spool_folder
from ipc import huge_pages
from ipc.machine import MachineReport

OLLAMA_PORT = 11434
_PACKAGES = ("nacelle-server", "openvino", "openvino-genai", "openvino-tokenizers")
_EXTRAS = (
    ("optimum", "it exports and quantizes models", ("optimum-intel",)),
    ("speech", "it pronounces words that Kokoro does not know", ("phonemizer-fork", "espeakng-loader")),
    ("redis", "it stores responses and conversations in Redis", ("redis",)),
)
_CONTAINER_MARKS = (
    Path("/.dockerenv"),
    Path("/run/.containerenv"),
    Path("/var/run/secrets/kubernetes.io"),  # a pod's
)


def collect(environ: Mapping[str, str], config: Path | None, report: Callable[[str], None]) -> Facts:
    """`report` hears of what takes long."""
    settings, variables = read_settings(environ, config)
    report("Asking OpenVINO for its devices")
    machine, machine_error = _machine()
    devices = [device.name for device in machine.devices] if machine else []
    return Facts(
        versions=VersionFacts(tuple(sys.version_info[:3]), {name: _version(name) for name in _PACKAGES}),
        user=_user(),
        cpu=cpu_facts(),
        memory=_memory(),
        disks=(_disk("store", settings.store, store_root), _disk("spool", settings.spool, spool_folder)),
        ports=(
            port_facts(settings.host, settings.port, "server"),
            port_facts(settings.host, OLLAMA_PORT, "ollama"),
        ),
        pci=tuple(intel_accelerators()),
        nodes=tuple(device_nodes()),
        libraries={name: loads(name) for name in (OPENCL, LEVEL_ZERO, NPU_DRIVER)},
        wanted_devices=tuple(_wanted_devices(settings)),
        machine=machine,
        machine_error=machine_error,
        self_tests=tuple(_self_tests(devices, settings, report)),
        extras=tuple(
            ExtraFacts(name, purpose, tuple(each for each in packages if _version(each) is None))
            for name, purpose, packages in _EXTRAS
        ),
        variables=variables,
    )


def read_settings(
    environ: Mapping[str, str], config: Path | None
) -> tuple[Settings, tuple[VariableFacts, ...]]:
    """The settings that a server would have, or the defaults where it would refuse them."""
    try:
        settings, notes = settings_here({}, {}, [], config, environ)
    except ConfigError as error:
        first, *_ = str(error).splitlines()
        return Settings(), (VariableFacts(first, is_error=True),)
    return settings, _doubtful(notes)


def _doubtful(notes: Iterable[Note]) -> tuple[VariableFacts, ...]:
    return tuple(VariableFacts(note.text, is_error=False) for note in notes)


def _machine() -> tuple[MachineReport | None, str]:
    try:
        return ask_devices(), ""
    except ProbeFailed as failed:
        return None, str(failed)


def _self_tests(
    devices: Iterable[str], settings: Settings, report: Callable[[str], None]
) -> Iterable[SelfTest]:
    model = _stored_model(settings)
    for device in devices:
        report(f"Testing {device}" + (f" with {model.name}" if model else ""))
        yield self_test(device, model)


def _stored_model(settings: Settings) -> StoredText | None:
    try:
        return smallest_text_model(Store(store_root(settings.store), Silent()))
    except (ConfigError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _user() -> UserFacts:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        name = str(os.getuid())
    groups = []
    for number in os.getgroups():
        try:
            groups.append(grp.getgrgid(number).gr_name)
        except KeyError:
            groups.append(str(number))
    marked = any(mark.exists() for mark in _CONTAINER_MARKS) or "KUBERNETES_SERVICE_HOST" in os.environ
    return UserFacts(name, tuple(groups), marked)


def _memory() -> MemoryFacts:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    group = cgroups.tightest_memory()
    return MemoryFacts(
        total=memory.total,
        available=memory.available,
        group_limit=group.limit if group else None,
        group_used=group.used if group else 0,
        swap_total=swap.total,
        swap_used=swap.used,
        huge_pages=huge_pages.setting(),
        reserved_huge_pages=_reserved_huge_pages(),
    )


def _reserved_huge_pages() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    found = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    hugetlb = found.get("Hugetlb", ["0"])
    return int(hugetlb[0]) * 1024


def _wanted_devices(settings: Settings) -> list[str]:
    """The kinds of devices that the models' settings name: GPU for GPU.1, both for HETERO:GPU,CPU."""
    named = " ".join(model.device for model in settings.models)
    return [kind for kind in ("GPU", "NPU") if kind in named]


def _disk(
    use: Literal["store", "spool"], configured: str | None, find: Callable[[str | None], Path]
) -> DiskFacts:
    try:
        folder = find(configured)
    except ConfigError as error:
        first, *_ = str(error).splitlines()
        return DiskFacts(use=use, path=configured or "", free=0, writable=False, error=first)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return DiskFacts(
        use=use,
        path=str(folder),
        free=psutil.disk_usage(str(existing)).free,
        writable=os.access(existing, os.W_OK | os.X_OK),
        in_memory=is_in_memory(existing),
    )


def loads(library: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether a driver's library can be loaded, in a child process: its first code may crash or hang."""
    command = [sys.executable, "-I", "-S", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", library]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ended.returncode == 0
