"""Samples as engines make them and as files hold them."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]  # [samples], mono, from -1 to 1


def bounded(samples: Samples) -> Samples:
    """Clipped; what is not a number becomes silence."""
    return np.clip(np.nan_to_num(samples, nan=0.0), -1.0, 1.0).astype(np.float32, copy=False)


def s16(samples: Samples) -> npt.NDArray[np.int16]:
    """Signed 16-bit little-endian."""
    return np.rint(samples * 32767).astype("<i2")
