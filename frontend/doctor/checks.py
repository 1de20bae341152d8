"""What the facts about a machine mean: a line for each, with its remedy. Pure."""

from collections.abc import Iterator

from frontend.config import GIB
from frontend.doctor.devices import check_accelerators, check_devices, check_self_tests
from frontend.doctor.facts import DiskFacts, Facts, Finding, PortFacts
from frontend.machine.hardware import CpuFacts

_PYTHON = (3, 11)
_OPENVINO = ("openvino", "openvino-genai", "openvino-tokenizers")
_INSTRUCTIONS = {  # flag of Linux → name; those that make matrices faster
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_int8": "AMX",
}
_LITTLE_MEMORY = 2 * GIB
_LITTLE_DISK = 5 * GIB
_SWAPPED = 0.5  # of the swap space in use


def diagnose(facts: Facts) -> list[Finding]:
    """Every line of the report, in its order."""
    return [
        *_check_versions(facts),
        *_check_cpu(facts.cpu),
        *_check_memory(facts),
        *check_devices(facts),
        *check_accelerators(facts),
        *check_self_tests(facts),
        *(_check_disk(disk) for disk in facts.disks),
        *(_check_port(port) for port in facts.ports),
        *_check_extras(facts),
        *_check_variables(facts),
    ]


def exit_status(findings: list[Finding]) -> int:
    return 1 if any(finding.level == "fail" for finding in findings) else 0


def _check_versions(facts: Facts) -> Iterator[Finding]:
    python, packages = facts.versions.python, facts.versions.packages
    shown = ".".join(map(str, python))
    if python[:2] < _PYTHON:
        needed = ".".join(map(str, _PYTHON))
        yield Finding("python", "fail", f"Python {shown}", f"install Nacelle with Python {needed} or later")
    else:
        yield Finding("python", "ok", f"Python {shown}")
    found = {name: packages.get(name) for name in _OPENVINO}
    listed = ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())
    release = found["openvino"]
    if release is None:
        yield Finding("openvino", "fail", listed, "pip install --force-reinstall nacelle-server")
        return
    if any(version is None or _release(version) != _release(release) for version in found.values()):
        wanted = ".".join(_release(release))
        again = " ".join(f"'{name}=={wanted}.*'" for name in _OPENVINO[1:])
        yield Finding("openvino", "fail", f"the packages do not match: {listed}", f"pip install {again}")
        return
    yield Finding("openvino", "ok", listed)
    loaded = facts.machine.openvino if facts.machine else ""
    if loaded and _release(loaded.partition("-")[0]) != _release(release):
        text = f"the library that was loaded is {loaded}, not that of the package {release}"
        yield Finding("openvino", "warn", text, "unset PYTHONPATH and LD_LIBRARY_PATH, which lead elsewhere")


def _release(version: str) -> list[str]:
    """2026.4.1.0 → 2026, 4, 1."""
    return version.split(".")[:3]


def _check_cpu(cpu: CpuFacts) -> Iterator[Finding]:
    has = [name for flag, name in _INSTRUCTIONS.items() if flag in cpu.flags]
    shown = f"{cpu.name or 'unknown model'}, {cpu.cores} cores, {cpu.logical} threads"
    if cpu.flags and "avx2" not in cpu.flags:
        remedy = "use a CPU with AVX2; in a virtual machine, pass the host's CPU model through"
        yield Finding("cpu", "warn", f"{shown}: without AVX2, models are very slow", remedy)
    else:
        yield Finding("cpu", "ok", f"{shown}; {', '.join(has) or 'instructions unknown'}")
    if cpu.usable < cpu.logical:
        yield Finding("cpu", "ok", f"this process may run on {cpu.usable} of {cpu.logical} CPUs")
    if cpu.quota is not None:
        threads = max(1, int(cpu.quota))
        text = f"a quota of the control group allows {cpu.quota:g} of {cpu.usable} CPUs"
        if cpu.quota < cpu.usable:
            yield Finding("cpu", "warn", text, f"nacelle serve MODEL --threads {threads}, or raise the quota")
        else:
            yield Finding("cpu", "ok", text)


def _check_memory(facts: Facts) -> Iterator[Finding]:
    memory = facts.memory
    free = memory.available
    text = f"{_gib(free)} of {_gib(memory.total)} available"
    if memory.group_limit is not None and memory.group_limit < memory.total:
        free = min(free, memory.group_limit - memory.group_used)
        text += f"; the control group may use {_gib(memory.group_limit)} and uses {_gib(memory.group_used)}"
    if free < _LITTLE_MEMORY:
        remedy = "close other programs, raise the limit, or serve a smaller model"
        yield Finding("memory", "warn", text, remedy)
    else:
        yield Finding("memory", "ok", text)
    if memory.swap_total and memory.swap_used > memory.swap_total * _SWAPPED:
        text = f"{_gib(memory.swap_used)} of {_gib(memory.swap_total)} of swap space in use"
        yield Finding("memory", "warn", text, "models that are swapped out are slow: free some memory")
    if memory.reserved_huge_pages > memory.total // 4:
        text = f"{_gib(memory.reserved_huge_pages)} reserved as huge pages, which OpenVINO does not use"
        yield Finding("memory", "warn", text, "sudo sysctl vm.nr_hugepages=0")
    if memory.huge_pages == "never":
        remedy = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled"
        yield Finding("memory", "warn", "transparent huge pages: never, which makes models slower", remedy)
    elif memory.huge_pages:
        yield Finding("memory", "ok", f"transparent huge pages: {memory.huge_pages}")


def _check_disk(disk: DiskFacts) -> Finding:
    option = f"--{disk.use}"
    if disk.error:
        return Finding(disk.use, "fail", disk.error, f"choose another folder: nacelle serve {option} FOLDER")
    text = f"{disk.path}: {_gib(disk.free)} free"
    if not disk.writable:
        return Finding(
            disk.use, "fail", f"{text}, not writable", f"choose another folder: nacelle serve {option} FOLDER"
        )
    if disk.in_memory:
        return Finding(
            disk.use,
            "warn",
            f"{text}, in memory",
            f"choose a folder on a disk: nacelle serve {option} FOLDER",
        )
    if disk.free < _LITTLE_DISK:
        return Finding(
            disk.use,
            "warn",
            text,
            f"free some space, or choose another folder: nacelle serve {option} FOLDER",
        )
    return Finding(disk.use, "ok", text)


def _check_port(port: PortFacts) -> Finding:
    if not port.error:
        return Finding("port", "ok", f"{port.number} is free")
    who = f"{port.holder} (process {port.pid})" if port.holder else "another user's program"
    in_use = port.error == "in use"
    text = f"{port.number} is in use by {who}" if in_use else f"{port.number}: {port.error}"
    if port.use == "ollama":  # nobody listens there unless asked to
        return Finding("port", "ok", f"{text}; this matters only to --ollama-port {port.number}")
    if in_use and port.holder == "nacelle":
        return Finding("port", "ok", f"a Nacelle runs on {port.number} (process {port.pid})")
    return Finding("port", "warn", text, "stop it, or choose another port: nacelle serve --port PORT")


def _check_extras(facts: Facts) -> Iterator[Finding]:
    for extra in facts.extras:
        if extra.missing:
            how = f"pip install 'nacelle-server[{extra.name}]'"
            yield Finding("extra", "ok", f"{extra.name} is not installed; {extra.purpose}: {how}")
        else:
            yield Finding("extra", "ok", f"{extra.name} is installed")


def _check_variables(facts: Facts) -> Iterator[Finding]:
    if not facts.variables:
        yield Finding("settings", "ok", "all NACELLE_* variables and settings files can be read")
    for variable in facts.variables:
        remedy = "correct or unset it; nacelle serve --help lists all settings"
        yield Finding("settings", "fail" if variable.is_error else "warn", variable.text, remedy)


def _gib(size: int) -> str:
    return f"{max(0, size) / GIB:.1f} GiB"
