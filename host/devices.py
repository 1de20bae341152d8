"""Whether the devices that a launch names exist, asked before anything is loaded on them."""

import re
from collections.abc import Sequence

from host.errors import LaunchError

_WITH_DRIVERS = ("GPU", "NPU")
_COMBINING = ("AUTO", "BATCH", "HETERO", "MULTI")  # their devices follow after a colon


def check_device(device: str, available: Sequence[str], option: str = "--device") -> None:
    """Raise LaunchError, naming those that exist, if an OpenVINO device name needs another one."""
    for name in parts(device):
        if not _is_available(name, available):
            found = ", ".join(available) or "none"
            driver = "install its driver or " if name.startswith(_WITH_DRIVERS) else ""
            raise LaunchError(
                f"there is no device {name} here, only {found}; {driver}set {option} to another"
            )


def parts(device: str) -> list[str]:
    """The single devices in a name such as HETERO:GPU.0,CPU. Those that AUTO must not use are left out."""
    kind, _, rest = device.partition(":")
    if kind not in _COMBINING:
        return [device]
    names = [re.sub(r"\(.*\)", "", name).strip() for name in rest.split(",")]
    return [name for name in names if name and not name.startswith("-")]


def _is_available(name: str, available: Sequence[str]) -> bool:
    """OpenVINO lists a lone GPU as GPU, and several as GPU.0, GPU.1; GPU and GPU.0 are always the first."""
    kind, _, number = name.partition(".")
    of_kind = [other for other in available if other.partition(".")[0] == kind]
    if name in available or (of_kind and not number):
        return True
    return bool(of_kind) and (not number.isdecimal() or int(number) < len(of_kind))
