"""The renderers' arguments: checked, and packed as the kernels take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from natsprites.rendering.shapes import Outlines
from natsprites.rendering.tables import rotations
from temporalpairs.checks import array, shown, whole
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from jaxtyping import Float64, UInt8

MAX_COORDINATE = 2.0**30  # in canvas pixels: differences of two still fit Pillow's 32-bit integers
_MAX_SIDE = 8192  # of the canvas in pixels: the table of a size takes size · side · 8 bytes
_WHITE = 255
_RGB = 3


def check_side(size: Any, anti_aliasing: Any) -> None:
    """Check the image's size and the canvas pixels for each of its pixels.

    Raises:
        OptionError: one is not a whole number of at least 1, or the canvas is too large.
    """
    for name, value in (("size", size), ("anti_aliasing", anti_aliasing)):
        whole(name, value, 1, _MAX_SIDE)
    if size * anti_aliasing > _MAX_SIDE:
        raise OptionError(
            f"size={size} with anti_aliasing={anti_aliasing} needs a canvas of {size * anti_aliasing:,} pixels a side; "
            f"up to {_MAX_SIDE:,} are drawn."
        )


def pack_sprites(
    outlines: Outlines, x: Any, y: Any, scale: Any, angle: Any, shape: Any, side: int
) -> Float64[np.ndarray, "n 6"]:
    """Check sprites and put them side by side: x, y, scale, cosine, sine and code of the shape.

    Args:
        outlines: the shapes to choose among.
        x: [N] positions to the right as shares of the side, or one for all.
        y: [N] positions up as shares of the side, or one for all.
        scale: [N] factors of the shape's size, or one for all.
        angle: [N] degrees, or one for all.
        shape: [N] names or codes, or one for all.
        side: of the canvas in pixels.

    Raises:
        OptionError: lengths differ, a number is not finite, a sprite reaches too far, or a shape is unknown.
    """
    columns = [_numbers(name, value) for name, value in (("x", x), ("y", y), ("scale", scale), ("angle", angle))]
    columns.append(_codes(outlines, shape))
    lengths = {name: len(column) for name, column in zip(_NAMES, columns, strict=True) if column.ndim}
    n = next(iter(lengths.values()), 1)
    if any(length != n for length in lengths.values()):
        lengths_found = ", ".join(f"{name} has {length:,}" for name, length in lengths.items())
        raise OptionError(f"The lengths differ: {lengths_found}. Give [N] of each, or one for all.")
    sprites = np.empty((n, 6))
    sprites[:, 0], sprites[:, 1], sprites[:, 2] = columns[0], columns[1], columns[2]
    turns = columns[3] if columns[3].ndim else columns[3][None]
    if turns.dtype.kind == "f" and not np.isfinite(turns).all():
        _refuse("angle", columns[3])
    sprites[:, 3:5] = rotations(turns)
    sprites[:, 5] = columns[4]
    # One look at the sums decides for nearly everybody; what is wrong is found out only where something is.
    with np.errstate(over="ignore", invalid="ignore"):
        reach = np.abs(sprites[:, :2]).max(axis=1) + outlines.radius * np.abs(sprites[:, 2])
        near = reach * side < MAX_COORDINATE
    if not near.all():
        for name, column in zip(_NAMES[:3], columns[:3], strict=True):
            if not np.isfinite(column).all():
                _refuse(name, column)
        i = int(np.argmin(near))
        raise OptionError(
            f"x[{i}]={sprites[i, 0]:g}, y[{i}]={sprites[i, 1]:g}, scale[{i}]={sprites[i, 2]:g}: the sprite reaches "
            f"farther than Pillow's integers. |x| and |y| plus scale · {outlines.radius:.3g}, the shapes' radius, "
            f"have to stay below {MAX_COORDINATE / side:,.0f}."
        )
    return sprites


def check_color(color: Any, n: int) -> UInt8[np.ndarray, "colors 3"]:
    """Turn colors into bytes, one for all sprites or one each.

    Args:
        color: [3] or [n, 3]: integers 0 … 255, or floats in [0, 1], which become bytes as spriteworld makes them:
            times 255, cut off.
        n: number of sprites.

    Raises:
        OptionError: another shape, or a value out of range.
    """
    values = _array("color", color)
    if values.shape not in ((_RGB,), (n, _RGB)) or values.dtype.kind not in "iuf":
        raise OptionError(
            f"color has the shape {list(values.shape)} of {values.dtype}; give red, green and blue [3], or [{n}, 3]."
        )
    high = 1 if values.dtype.kind == "f" else _WHITE
    good = (values >= 0) & (values <= high)
    if not good.all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        raise OptionError(
            f"color{list(where)}={values[where]} is out of range; colors are integers 0 … 255 or floats in [0, 1]."
        )
    if values.dtype.kind == "f":
        values = values * _WHITE
    return np.atleast_2d(values.astype(np.uint8))


_NAMES = ("x", "y", "scale", "angle", "shape")


def _array(name: str, value: Any) -> np.ndarray:
    return array(name, value, "numbers, all rows of one length", "biufcUSOTMmV")


def _numbers(name: str, value: Any) -> np.ndarray:
    values = _array(name, value)
    if values.dtype.kind not in "iuf" or values.ndim > 1:
        if values.size == 0 and values.ndim == 1:
            return np.zeros(0)
        raise OptionError(
            f"{name} has the shape {list(values.shape)} of {values.dtype}; give [N] numbers, or one for all."
        )
    return values


def _codes(outlines: Outlines, shape: Any) -> np.ndarray:
    if isinstance(shape, str):
        return np.array(outlines.code(shape))
    if isinstance(shape, Sequence) and any(isinstance(name, str) for name in shape):
        codes = np.array(shape, dtype=object)
    else:
        codes = _array("shape", shape)
    if codes.dtype.kind in "UOT":
        known = {name: code for code, name in enumerate(outlines.names)}
        for i, name in enumerate(codes.ravel().tolist()):
            if not isinstance(name, str) or name not in known:
                raise OptionError(f"shape[{i}]={shown(name)} is unknown; it is one of {', '.join(outlines.names)}.")
        codes = np.array([known[name] for name in codes.ravel().tolist()], np.int64).reshape(codes.shape)
    if codes.size == 0:
        codes = codes.astype(np.int64)
    if codes.dtype.kind not in "iu" or codes.ndim > 1:
        raise OptionError(
            f"shape has the shape {list(codes.shape)} of {codes.dtype}; give [N] names or whole codes, or one for all."
        )
    wrong = (codes < 0) | (codes >= len(outlines.names))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise OptionError(
            f"shape[{i}]={codes.ravel()[i]} is unknown; codes are 0 … {len(outlines.names) - 1}: "
            f"{', '.join(outlines.names)}."
        )
    return codes


def _refuse(name: str, column: np.ndarray) -> None:
    i = int(np.argmax(~np.isfinite(np.atleast_1d(column))))
    raise OptionError(f"{name}[{i}]={np.atleast_1d(column)[i]} is not finite; give finite numbers.")
