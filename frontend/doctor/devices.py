"""What the facts about GPUs and NPUs mean: found by OpenVINO, or why not. Pure."""

from collections.abc import Iterator, Sequence

from frontend.config import GIB
from frontend.doctor.facts import Facts, Finding, Level, SelfTest
from frontend.machine.hardware import NodeFacts
from ipc.machine import DeviceFacts

OPENCL, LEVEL_ZERO, NPU_DRIVER = "libOpenCL.so.1", "libze_loader.so.1", "libze_intel_npu.so.1"
_PACKAGES = {
    OPENCL: "sudo apt install ocl-icd-libopencl1 intel-opencl-icd",
    LEVEL_ZERO: "sudo apt install libze1",
    NPU_DRIVER: "install Intel's NPU driver: github.com/intel/linux-npu-driver/releases",
}
_NEEDED = {False: (OPENCL,), True: (LEVEL_ZERO, NPU_DRIVER)}  # by whether it is an NPU
_KERNEL = {False: "i915 or xe", True: "intel_vpu"}
_INTEL_DRIVERS = ("", "i915", "xe", "intel_vpu")  # empty: a container may not say
_REINSTALL = "reinstall the device's driver, or use another device with --device"


def check_devices(facts: Facts) -> Iterator[Finding]:
    """What OpenVINO itself reports."""
    if facts.machine is None:
        remedy = "pip install --force-reinstall openvino openvino-genai; then look at the GPU and NPU drivers"
        yield Finding(
            "devices", "fail", f"OpenVINO could not list its devices: {facts.machine_error}", remedy
        )
        return
    for device in facts.machine.devices:
        yield Finding("devices", "ok", _described(device))
    if not facts.machine.devices:
        yield Finding("devices", "fail", "OpenVINO finds no device", "pip install --force-reinstall openvino")


def _described(device: DeviceFacts) -> str:
    kind = device.kind if device.name.startswith("GPU") else ""
    memory = f"{device.memory_bytes / GIB:.1f} GiB" if device.memory_bytes else ""
    versions = [f"{name.lower().replace('_', ' ')} {value}" for name, value in device.versions.items()]
    facts = [part for part in (kind, memory, "/".join(device.capabilities), *versions) if part]
    return f"{device.name}: {device.full_name or 'unnamed'} ({', '.join(facts)})"


def check_accelerators(facts: Facts) -> Iterator[Finding]:
    """GPUs and NPUs that the machine has, and what keeps this user from them."""
    for is_npu, name in ((False, "GPU"), (True, "NPU")):
        nodes = [node for node in facts.nodes if node.is_npu is is_npu and node.driver in _INTEL_DRIVERS]
        on_bus = [device for device in facts.pci if device.is_npu is is_npu]
        if not nodes and not on_bus:
            yield Finding(name.lower(), "ok", f"no Intel {name} in this machine")
        elif not nodes:
            yield _without_node(facts, name, is_npu, [device.driver for device in on_bus])
        else:
            yield from _with_nodes(facts, nodes, name, is_npu, bool(on_bus))


def _without_node(facts: Facts, name: str, is_npu: bool, drivers: Sequence[str]) -> Finding:
    folder = "/dev/accel" if is_npu else "/dev/dri"
    text = f"an Intel {name} is on the PCI bus, but {folder} has no device file for it"
    if facts.user.in_container:
        remedy = f"start the container with --device {folder}, or let the pod request the device"
    elif any(drivers):
        named = ", ".join(filter(None, drivers))
        remedy = f"in a container, pass {folder} through; else {named} has made none: sudo dmesg | tail"
    else:
        remedy = f"install a kernel with the driver {_KERNEL[is_npu]}; in a container, pass {folder} through"
    return Finding(name.lower(), "warn", text, remedy)


def _with_nodes(
    facts: Facts, nodes: Sequence[NodeFacts], name: str, is_npu: bool, is_intel: bool
) -> Iterator[Finding]:
    area = name.lower()
    for node in nodes:
        driver = f", kernel driver {node.driver}" if node.driver else ""
        text = f"{node.path} (group {node.group}, {node.mode:04o}{driver})"
        if node.usable:
            yield Finding(area, "ok", f"{text}: {facts.user.name} may use it")
        else:
            yield Finding(area, "fail", f"{text}: {facts.user.name} may not use it", _admit(facts, node))
    found = facts.machine is not None and any(
        device.name.startswith(name) for device in facts.machine.devices
    )
    ours = is_intel or any(node.driver for node in nodes)
    level: Level = "fail" if name in facts.wanted_devices else "warn"  # the CPU serves all the same
    if found or facts.machine is None or not ours or not any(node.usable for node in nodes):
        return
    missing = [library for library in _NEEDED[is_npu] if not facts.libraries.get(library, False)]
    if missing:
        yield Finding(area, level, f"OpenVINO finds no {name}: no {missing[0]} here", _PACKAGES[missing[0]])
    else:
        yield Finding(area, level, f"OpenVINO finds no {name}, although its driver is here", _REINSTALL)


def _admit(facts: Facts, node: NodeFacts) -> str:
    """How to let the user use a device file."""
    if facts.user.in_container:
        return (
            f"start the container with --group-add $(stat -c %g {node.path}), or put that number into the "
            "pod's supplementalGroups"
        )
    if node.group in facts.user.groups:  # the group has too few permissions, or is new to the session
        return f"log in again; if that does not help: sudo chmod g+rw {node.path}"
    if node.group == "root":
        return f"sudo chgrp render {node.path} && sudo chmod g+rw {node.path}"
    return f"sudo usermod -aG {node.group} $USER, then log in again"


def check_self_tests(facts: Facts) -> Iterator[Finding]:
    for test in facts.self_tests:
        what = f"one token of {test.model}" if test.model else "a small computation"
        if test.error:
            yield Finding("self-test", "fail", f"{test.device}: {what} failed: {test.error}", _remedy(test))
        elif test.model:
            times = f"loaded in {test.load_seconds:.1f} s, first token after {test.token_seconds:.2f} s"
            yield Finding("self-test", "ok", f"{test.device}: {what}: {times}")
        else:
            yield Finding("self-test", "ok", f"{test.device}: {what}: {test.load_seconds:.1f} s")


def _remedy(test: SelfTest) -> str:
    if test.device.startswith("CPU"):
        return "nacelle serve MODEL --log-level debug shows the whole error"
    return _REINSTALL
