"""CPUs, accelerators and their device files, as the Linux kernel lists them: /proc, /sys and /dev."""

import grp
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import psutil

from frontend.machine.cgroups import cpu_quota

_INTEL = "0x8086"
_DISPLAY, _ACCELERATOR = "0x03", "0x12"  # the first byte of a PCI class


class CpuFacts(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    flags: frozenset[str] = frozenset()  # as Linux names them
    logical: int  # CPUs of the machine
    cores: int  # of the machine; threads of one core count once
    usable: int  # CPUs that this process may run on
    usable_cores: int = 0  # the same; threads of one core count once; 0 if unknown
    is_hybrid: bool = False  # it has performance and efficiency cores
    quota: float | None = None  # CPUs that the control group's quota is worth


class PciFacts(msgspec.Struct, frozen=True):
    """An Intel GPU or NPU on the PCI bus."""

    address: str
    is_npu: bool
    driver: str  # of the kernel; empty if none is bound


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A device file of a GPU or an NPU."""

    path: str
    is_npu: bool
    mode: int  # its permissions
    group: str
    usable: bool  # this process may read and write it
    driver: str = ""  # of the kernel


def cpu_facts(cpuinfo: str | None = None) -> CpuFacts:
    """`cpuinfo` stands in for the text of /proc/cpuinfo."""
    text = _read(Path("/proc/cpuinfo")) if cpuinfo is None else cpuinfo
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())
    }
    logical = os.cpu_count() or 1
    return CpuFacts(
        name=fields.get("model name", ""),
        flags=frozenset(fields.get("flags", "").split()),
        logical=logical,
        cores=psutil.cpu_count(logical=False) or logical,
        usable=len(os.sched_getaffinity(0)),
        usable_cores=_cores_of(os.sched_getaffinity(0)),
        is_hybrid=all(Path(f"/sys/devices/cpu_{kind}").exists() for kind in ("core", "atom")),
        quota=cpu_quota(),
    )


def _cores_of(cpus: Iterable[int], root: Path = Path("/sys/devices/system/cpu")) -> int:
    siblings = {_read(root / f"cpu{cpu}" / "topology" / "thread_siblings_list").strip() for cpu in cpus}
    return len(siblings - {""})


def machine_name() -> str:
    """What tuning depends on: with another CPU, or other limits of a container, it has to be done again."""
    cpu = cpu_facts()
    quota = "" if cpu.quota is None else f", quota {cpu.quota:g}"
    return f"{cpu.name or 'unknown CPU'}, {cpu.usable} CPUs{quota}"


def intel_accelerators(root: Path = Path("/sys/bus/pci/devices")) -> list[PciFacts]:
    """A container sees those of its machine, whether or not it may use them."""
    found = []
    for folder in sorted(root.glob("*")):
        kind = _read(folder / "class").strip()[:4]
        if _read(folder / "vendor").strip() == _INTEL and kind in (_DISPLAY, _ACCELERATOR):
            found.append(PciFacts(folder.name, kind == _ACCELERATOR, _driver(folder)))
    return found


def device_nodes(root: Path = Path("/dev")) -> list[NodeFacts]:
    return [*_nodes(root / "dri", "renderD*", False), *_nodes(root / "accel", "accel*", True)]


def has_render_node(root: Path = Path("/dev")) -> bool:
    """Whether a GPU may be there, which is cheap to find out."""
    return next((root / "dri").glob("renderD*"), None) is not None


def _nodes(folder: Path, pattern: str, is_npu: bool) -> Iterator[NodeFacts]:
    sys_class = Path("/sys/class") / ("accel" if is_npu else "drm")
    for path in sorted(folder.glob(pattern)):
        try:
            status = path.stat()
        except OSError:
            continue
        yield NodeFacts(
            path=str(path),
            is_npu=is_npu,
            mode=stat.S_IMODE(status.st_mode),
            group=_group(status.st_gid),
            usable=os.access(path, os.R_OK | os.W_OK),
            driver=_driver(sys_class / path.name / "device"),
        )


def _driver(folder: Path) -> str:
    try:
        return (folder / "driver").resolve(strict=True).name
    except OSError:
        return ""


def _group(number: int) -> str:
    """Its name, or its number where this system, such as a container, has no name for it."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
