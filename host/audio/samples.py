"""What sound is inside a host: mono, 32-bit floats from -1 to 1, 16,000 samples a second."""

import numpy as np
import numpy.typing as npt

RATE = 16_000  # samples per second

Samples = npt.NDArray[np.float32]  # of shape [samples]


def silence(samples: int) -> Samples:
    return np.zeros(samples, np.float32)


def seconds(samples: int) -> float:
    return samples / RATE


def cleaned(samples: Samples) -> Samples:
    """Without what is not a number, and within the range."""
    if not np.isfinite(samples).all():
        samples = np.nan_to_num(samples, nan=0.0, posinf=1.0, neginf=-1.0)
    return np.clip(samples, -1.0, 1.0)
