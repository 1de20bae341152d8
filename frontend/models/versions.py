"""The versions of everything that converts models."""

from ipc.installed import version_of

_CONVERTERS = ("openvino", "openvino-genai", "openvino-tokenizers")
_OWN_CONVERTER = "3"  # counts changes of what host.convert writes


def converter_versions() -> dict[str, str]:
    """Package → version. Imports none of them."""
    return {package: version_of(package) for package in _CONVERTERS} | {"nacelle": _OWN_CONVERTER}
