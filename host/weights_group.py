"""Which group size dynamic quantization should use, given that of an IR's compressed weights.

The engine quantizes activations in groups when it multiplies. On CPUs with AVX-512 VNNI, groups as large as
those of the weights, up to 128, serve int8 and int4 models up to 1.5 times as fast as the default of 32.
Groups larger than the weights' halve the speed.
"""

from collections.abc import Collection
from pathlib import Path

from ipc.ir_facts import read_ir
from ipc.model_files import FileFault
from ipc.weights_group import PER_CHANNEL, WeightsGroup

PROPERTY = "DYNAMIC_QUANTIZATION_GROUP_SIZE"

_LARGEST_GROUP = 128
_MEASURED = {"avx512f", "avx512_vnni"}  # CPU flags as Linux names them
_NOT_MEASURED = "amx_tile"


def is_measured(cpu_flags: Collection[str]) -> bool:
    """Whether matching the weights was seen to help on CPUs with these flags."""
    return set(cpu_flags) >= _MEASURED and _NOT_MEASURED not in cpu_flags


def matching_group(weights_group: WeightsGroup) -> int | None:
    """The group size to set for such weights, or None to leave the engine's default."""
    if weights_group is None:
        return None
    return _LARGEST_GROUP if weights_group == PER_CHANNEL else min(weights_group, _LARGEST_GROUP)


def read_cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The flags of the first CPU; empty if the system does not list them."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(flags.partition(":")[2].split())


def read_weights_group(xml: Path) -> WeightsGroup:
    """See `WeightsGraph.group`. None also if the XML cannot be read."""
    try:
        return read_ir(xml).weights_group
    except FileFault:
        return None
