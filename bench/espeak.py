"""Speaks English with espeak-ng in a process of its own, of which the same texts get the same samples.

The library's voice flutters, and what it says depends on what it said before.
"""

import ctypes
import importlib
import subprocess
import sys
from typing import Any

import msgspec

from bench.errors import RunFailed

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS of espeak-ng
_UTF8 = 1  # espeakCHARS_UTF8
_BUFFER_MS = 200
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Spoken(msgspec.Struct, frozen=True):
    """16-bit samples of each text, in one channel, and their rate."""

    rate: int
    samples: list[bytes]


def speak(texts: list[str]) -> Spoken:
    """Raises RunFailed without the extra `speech`."""
    child = subprocess.run(
        [sys.executable, "-P", "-m", "bench.espeak"],
        input=msgspec.msgpack.encode(texts),
        capture_output=True,
        check=False,
    )
    if child.returncode:
        reason = child.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise RunFailed(
            f"no recording: espeak-ng failed ({' '.join(reason)}).\n"
            "Give one with --audio FILE, or install nacelle-server[speech]."
        )
    return msgspec.msgpack.decode(child.stdout, type=Spoken)


def _speak(texts: list[str]) -> Spoken:
    loader = importlib.import_module("espeakng_loader")
    library = ctypes.CDLL(loader.get_library_path())
    data = str(loader.get_data_path()).encode()
    rate: int = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, data, 0)
    if rate <= 0 or library.espeak_SetVoiceByName(b"en-us"):
        raise OSError("it did not start")
    return Spoken(rate, [_samples(library, text) for text in texts])


def _samples(library: Any, text: str) -> bytes:
    samples = bytearray()

    def take(address: int | None, count: int, _: int | None) -> int:
        if address and count:
            samples.extend(ctypes.string_at(address, 2 * count))
        return 0

    callback = _CALLBACK(take)  # kept alive until the text is spoken
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode()
    if library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None):
        raise OSError("it did not speak")
    return bytes(samples)


if __name__ == "__main__":
    asked = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[str])
    sys.stdout.buffer.write(msgspec.msgpack.encode(_speak(asked)))
