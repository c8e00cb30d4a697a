"""Bytes to floats, compiled: the last step of each batch of sprites."""

from __future__ import annotations

import numpy as np

from temporalpairs.compiled import kernel

LEVELS = (np.arange(256) / 255).astype(np.float32)  # byte / 255 in float32, as the reference divides


@kernel
def spread_levels(pixels, floats):  # type: ignore[no-untyped-def]  # numba takes the types from the call
    """Write each image as floats into all of its channels.

    Args:
        pixels: uint8 [images, pixels].
        floats: float32 [images, channels, pixels], filled.
    """
    for image in range(pixels.shape[0]):
        for i in range(pixels.shape[1]):
            floats[image, 0, i] = LEVELS[pixels[image, i]]
        for channel in range(1, floats.shape[1]):
            floats[image, channel] = floats[image, 0]
