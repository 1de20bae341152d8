"""What `nacelle doctor` concludes from the facts about a machine."""

import msgspec
import pytest

from frontend.config import GIB
from frontend.doctor.checks import diagnose, exit_status
from frontend.doctor.devices import LEVEL_ZERO, NPU_DRIVER, OPENCL
from frontend.doctor.facts import (
    DiskFacts,
    ExtraFacts,
    Facts,
    MemoryFacts,
    PortFacts,
    SelfTest,
    UserFacts,
    VariableFacts,
    VersionFacts,
)
from frontend.machine.hardware import CpuFacts, NodeFacts, PciFacts
from ipc.machine import DeviceFacts, MachineReport

CPU = CpuFacts(name="A CPU", flags=frozenset({"avx2", "avx512f"}), logical=8, cores=4, usable=8)
DISK = DiskFacts(use="store", path="/store", free=100 * GIB, writable=True)
MEMORY = MemoryFacts(total=32 * GIB, available=20 * GIB)
VERSIONS = {"openvino": "2026.4.1", "openvino-genai": "2026.4.1.0", "openvino-tokenizers": "2026.4.1.0"}
GPU_NODE = NodeFacts(
    path="/dev/dri/renderD128", is_npu=False, mode=0o660, group="render", usable=True, driver="xe"
)
NPU_NODE = NodeFacts(
    path="/dev/accel/accel0", is_npu=True, mode=0o660, group="render", usable=True, driver="intel_vpu"
)
GPU_ON_BUS, NPU_ON_BUS = PciFacts("0000:00:02.0", False, "xe"), PciFacts("0000:00:0b.0", True, "intel_vpu")
HEALTHY = Facts(
    versions=VersionFacts((3, 12, 1), VERSIONS),
    user=UserFacts("ann", ("ann", "render")),
    cpu=CPU,
    memory=MEMORY,
    disks=(DISK, msgspec.structs.replace(DISK, use="spool")),
    ports=(PortFacts(number=8000, use="server"), PortFacts(number=11434, use="ollama")),
    machine=MachineReport("2026.4.1-22982-abc", [DeviceFacts(name="CPU", full_name="A CPU")]),
    self_tests=(SelfTest(device="CPU", model="smollm2", load_seconds=1.5, token_seconds=0.02),),
)


def findings(area: str, **changes):
    """Those of one area that are not ok."""
    facts = msgspec.structs.replace(HEALTHY, **changes)
    return [found for found in diagnose(facts) if found.area == area and found.level != "ok"]


def only(area: str, **changes):
    [found] = findings(area, **changes)
    return found


def test_a_healthy_machine_has_nothing_to_repair():
    found = diagnose(HEALTHY)
    assert {line.level for line in found} == {"ok"}
    assert not any(line.remedy for line in found)
    assert exit_status(found) == 0


def test_whatever_is_wrong_has_a_remedy_of_one_line():
    sick = msgspec.structs.replace(
        HEALTHY,
        versions=VersionFacts((3, 10, 0), VERSIONS | {"openvino-genai": "2026.3.0.0"}),
        user=UserFacts("ann", ()),
        cpu=CpuFacts(flags=frozenset({"sse4_2"}), logical=8, cores=4, usable=8, quota=2.0),
        memory=MemoryFacts(total=4 * GIB, available=GIB, swap_total=GIB, swap_used=GIB),
        disks=(msgspec.structs.replace(DISK, writable=False),),
        ports=(PortFacts(number=8000, use="server", error="in use"),),
        pci=(NPU_ON_BUS,),
        nodes=(msgspec.structs.replace(GPU_NODE, usable=False),),
        machine=None,
        machine_error="the process died of SIGSEGV",
        self_tests=(SelfTest(device="CPU", error="no token within 3 s"),),
        variables=(VariableFacts("ignored NACELLE_PROT", is_error=False),),
    )
    found = diagnose(sick)
    wrong = [line for line in found if line.level != "ok"]
    assert len(wrong) >= 12
    assert all(line.remedy and "\n" not in line.remedy for line in wrong)
    assert exit_status(found) == 1


def test_warnings_alone_are_no_failure():
    found = diagnose(
        msgspec.structs.replace(HEALTHY, ports=(PortFacts(number=8000, use="server", error="in use"),))
    )
    assert [line.level for line in found if line.level != "ok"] == ["warn"]
    assert exit_status(found) == 0


# --- versions -----------------------------------------------------------------------------------------------


def test_packages_of_different_releases_do_not_match():
    mixed = VersionFacts((3, 12, 1), VERSIONS | {"openvino-tokenizers": "2026.3.0.0"})
    found = only("openvino", versions=mixed)
    assert found.level == "fail"
    assert found.remedy == "pip install 'openvino-genai==2026.4.1.*' 'openvino-tokenizers==2026.4.1.*'"


def test_a_missing_package_does_not_match():
    assert (
        only("openvino", versions=VersionFacts((3, 12, 1), VERSIONS | {"openvino-genai": None})).level
        == "fail"
    )


def test_a_library_from_elsewhere_is_a_warning():
    found = only("openvino", machine=MachineReport("2025.1.0-1-x", [DeviceFacts(name="CPU")]))
    assert found.level == "warn"
    assert "2025.1.0" in found.text


# --- CPU and memory -----------------------------------------------------------------------------------------


def test_a_quota_smaller_than_the_cpus_names_the_threads_that_it_pays_for():
    found = only("cpu", cpu=msgspec.structs.replace(CPU, quota=2.5))
    assert "2.5 of 8 CPUs" in found.text
    assert "--threads 2" in found.remedy


def test_a_quota_that_pays_for_all_is_fine():
    assert not findings("cpu", cpu=msgspec.structs.replace(CPU, quota=8.0))


def test_a_machine_without_huge_pages_can_switch_them_on():
    assert not findings("memory", memory=msgspec.structs.replace(MEMORY, huge_pages="madvise"))
    found = only("memory", memory=msgspec.structs.replace(MEMORY, huge_pages="never"))
    assert found.level == "warn"
    assert "/sys/kernel/mm/transparent_hugepage/enabled" in found.remedy


def test_the_limit_of_the_control_group_counts_not_the_machines_memory():
    limited = msgspec.structs.replace(MEMORY, group_limit=3 * GIB, group_used=2 * GIB)
    assert only("memory", memory=limited).level == "warn"


# --- accelerators -------------------------------------------------------------------------------------------


def test_whoever_may_not_use_a_gpu_is_told_the_command_that_admits_them():
    node = msgspec.structs.replace(GPU_NODE, usable=False)
    found = only("gpu", nodes=(node,), pci=(GPU_ON_BUS,), user=UserFacts("ann", ("ann",)))
    assert found.level == "fail"
    assert found.remedy == "sudo usermod -aG render $USER, then log in again"


def test_in_a_container_the_group_is_added_from_outside():
    node = msgspec.structs.replace(GPU_NODE, usable=False, group="993")
    found = only("gpu", nodes=(node,), user=UserFacts("ann", (), in_container=True))
    assert "--group-add" in found.remedy
    assert "supplementalGroups" in found.remedy


def test_a_gpu_without_a_device_file_is_passed_to_the_container_first():
    found = only("gpu", pci=(GPU_ON_BUS,), user=UserFacts("root", (), in_container=True))
    assert found.level == "warn"
    assert found.remedy.startswith("start the container with --device /dev/dri, or let the pod")
    unmarked = only("gpu", pci=(GPU_ON_BUS,), user=UserFacts("root", ()))  # a pod of containerd
    assert "in a container, pass /dev/dri through" in unmarked.remedy


@pytest.mark.parametrize(
    ("area", "node", "libraries", "remedy"),
    [
        ("gpu", GPU_NODE, {OPENCL: False}, "intel-opencl-icd"),
        ("gpu", GPU_NODE, {OPENCL: True}, "reinstall"),
        ("npu", NPU_NODE, {LEVEL_ZERO: False, NPU_DRIVER: True}, "libze1"),
        ("npu", NPU_NODE, {LEVEL_ZERO: True, NPU_DRIVER: False}, "linux-npu-driver"),
    ],
)
def test_a_device_that_openvino_does_not_find_lacks_a_part_of_its_driver(area, node, libraries, remedy):
    found = only(area, nodes=(node,), libraries=libraries, wanted_devices=(area.upper(),))
    assert found.level == "fail"
    assert remedy in found.remedy
    assert only(area, nodes=(node,), libraries=libraries).level == "warn"  # the CPU serves all the same


@pytest.mark.parametrize("driver", ["amdgpu", "nvidia", "virtio-pci"])
@pytest.mark.parametrize("usable", [False, True])
def test_a_gpu_of_another_maker_is_none_of_our_business(driver, usable):
    assert not findings("gpu", nodes=(msgspec.structs.replace(GPU_NODE, driver=driver, usable=usable),))


def test_a_device_is_described_with_its_driver():
    gpu = DeviceFacts(
        name="GPU.0",
        full_name="A GPU",
        kind="discrete",
        capabilities=("FP16", "INT8"),
        memory_bytes=16 * GIB,
        versions={"GPU_DRIVER_VERSION": "25.18"},
    )
    facts = msgspec.structs.replace(HEALTHY, machine=MachineReport("2026.4.1", [gpu]))
    [found] = [line for line in diagnose(facts) if line.area == "devices"]
    assert found.text == "GPU.0: A GPU (discrete, 16.0 GiB, FP16/INT8, gpu driver version 25.18)"


# --- disks, ports, extras -----------------------------------------------------------------------------------


def test_disks_in_memory_or_nearly_full_are_warnings():
    for change in ({"in_memory": True}, {"free": GIB}):
        assert only("store", disks=(msgspec.structs.replace(DISK, **change),)).level == "warn"


def test_a_busy_port_names_its_holder():
    port = PortFacts(number=8000, use="server", error="in use", holder="nginx", pid=17)
    assert "in use by nginx (process 17)" in only("port", ports=(port,)).text


def test_a_nacelle_that_runs_is_no_fault():
    port = PortFacts(number=8000, use="server", error="in use", holder="nacelle", pid=17)
    facts = msgspec.structs.replace(HEALTHY, ports=(port,))
    [found] = [line for line in diagnose(facts) if line.area == "port"]
    assert (found.level, found.text) == ("ok", "a Nacelle runs on 8000 (process 17)")


def test_ollama_on_its_own_port_is_no_fault():
    port = PortFacts(number=11434, use="ollama", error="in use", holder="ollama", pid=17)
    assert not findings("port", ports=(port,))


def test_a_missing_extra_is_no_fault_but_says_how_to_install_it():
    extra = ExtraFacts("optimum", "it exports models", ("optimum-intel",))
    facts = msgspec.structs.replace(HEALTHY, extras=(extra,))
    [found] = [line for line in diagnose(facts) if line.area == "extra"]
    assert (found.level, "pip install 'nacelle-server[optimum]'" in found.text) == ("ok", True)
