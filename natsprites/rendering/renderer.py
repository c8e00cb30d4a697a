"""Sprites, rendered as spriteworld and Pillow render them, in every pixel, a hundred times faster.

The polygon is filled on a canvas of ``size · anti_aliasing`` pixels a side, shrunk with Lanczos and flipped, as
spriteworld 1.0.2 does. The canvas never exists: its filled runs go through a table of sums of Pillow's coefficients.
The fill is that of Pillow 11.2 to 13. Pillow 7.2, which made the reference's images, fills the named shapes alike
where they span more than three rows of the canvas; Pillow 9.5 to 11.1 do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from natsprites.rendering.arguments import check_color, check_side, pack_sprites
from natsprites.rendering.kernels import render_sprites
from natsprites.rendering.options import SpriteOptions
from natsprites.rendering.shapes import Outlines
from natsprites.rendering.tables import lanczos_table
from temporalpairs.checks import of_kind, shown, whole
from temporalpairs.errors import OptionError
from temporalpairs.parallel import cores

if TYPE_CHECKING:
    from jaxtyping import Float64, UInt8

_WHITE = np.full((1, 1), 255, np.uint8)
_PER_THREAD = 256  # sprites that are worth a thread of their own: about 2 ms
_PIECES = 4  # for each thread, so that none waits long for another with larger sprites


@dataclass(frozen=True, slots=True, eq=False)
class Renderer:
    """Renders sprites of one set of shapes at one size; small to pickle, and safe to share between threads.

    Attributes:
        outlines: the shapes.
        size: rows and columns of an image in pixels.
        anti_aliasing: rows and columns of the canvas for each of an image; 1 leaves the edges jagged.

    Raises:
        OptionError: size or anti_aliasing is not a whole number of at least 1, or the canvas is too large.
    """

    outlines: Outlines = field(default_factory=Outlines.of)
    size: int = 64
    anti_aliasing: int = 5

    def __post_init__(self) -> None:
        check_side(self.size, self.anti_aliasing)

    @classmethod
    def of(cls, options: SpriteOptions) -> Renderer:
        """Make the renderer of a dataset's options: its codes are the positions in ``options.shapes``.

        Raises:
            OptionError: a shape is unknown, or the size is no size.
        """
        of_kind("options", options, SpriteOptions, "SpriteOptions")
        shapes = {name: options.polygons.get(name, name) for name in options.shapes}
        return cls(Outlines.of(shapes), options.size, options.anti_aliasing)

    @property
    def side(self) -> int:
        """Rows and columns of the canvas."""
        return self.size * self.anti_aliasing

    def render(
        self,
        x: Any,
        y: Any,
        scale: Any,
        angle: Any,
        shape: Any,
        *,
        color: Any = None,
        threads: int | None = None,
        out: UInt8[np.ndarray, "..."] | None = None,
    ) -> UInt8[np.ndarray, "..."]:
        """Render sprites; see `render`, which has the same arguments."""
        sprites = pack_sprites(self.outlines, x, y, scale, angle, shape, self.side)
        n = len(sprites)
        fills = _WHITE if color is None else check_color(color, n)
        wanted = (n, self.size, self.size) if color is None else (n, fills.shape[1], self.size, self.size)
        if out is None:
            out = np.empty(wanted, np.uint8)
        elif not isinstance(out, np.ndarray):
            raise OptionError(f"out={shown(out)}: give a uint8 array {list(wanted)}.")
        elif out.shape != wanted or out.dtype != np.uint8 or not out.flags.c_contiguous or not out.flags.writeable:
            raise OptionError(
                f"out is {list(out.shape)} of {out.dtype}; give a writeable, contiguous uint8 array {list(wanted)}."
            )
        self._draw(sprites, fills, out.reshape(n, fills.shape[1], self.size, self.size), _thread_count(threads, n))
        return out

    def render_into(
        self, x: Any, y: Any, scale: Any, angle: Any, shape: Any, out: UInt8[np.ndarray, "n size size"], fill: int = 255
    ) -> None:
        """Render sprites of one gray level into an array, on this thread, with the least ado.

        Args:
            x: [N] positions to the right, as in `render`.
            y: [N] positions up.
            scale: [N] factors of the shape's size.
            angle: [N] degrees, anticlockwise.
            shape: [N] names or codes of shapes.
            out: contiguous uint8 [N, size, size], filled.
            fill: the sprites' gray level, 0 … 255.
        """
        sprites = pack_sprites(self.outlines, x, y, scale, angle, shape, self.side)
        fills = _WHITE if fill == 255 else np.full((1, 1), fill, np.uint8)
        self._draw(sprites, fills, out.reshape(len(sprites), 1, self.size, self.size), 1)

    def _draw(
        self,
        sprites: Float64[np.ndarray, "n 6"],
        fills: UInt8[np.ndarray, "colors channels"],
        out: UInt8[np.ndarray, "n channels size size"],
        threads: int,
    ) -> None:
        # With a factor of 1 Pillow copies instead of resizing, and the kernel does not look at the table.
        table = lanczos_table(self.size, self.anti_aliasing) if self.anti_aliasing > 1 else lanczos_table(1, 2)
        known = (self.outlines.vertices, self.outlines.offsets, self.anti_aliasing)
        resize = (table.prefix, table.by_output, table.bounds, table.reach)
        if threads == 1:
            render_sprites(sprites, *known, *resize, fills, out)
            return

        def draw(start: int, stop: int) -> None:
            some = fills if len(fills) == 1 else fills[start:stop]
            render_sprites(sprites[start:stop], *known, *resize, some, out[start:stop])

        # A pool of its own for each call: one that outlived it would be dead in a forked worker.
        borders = np.linspace(0, len(sprites), threads * _PIECES + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(draw, borders[:-1], borders[1:]))


def _thread_count(threads: Any, n: int) -> int:
    if threads is None:
        return max(1, min(cores(), n // _PER_THREAD))
    return max(1, min(whole("threads", threads, 1), n))


def render(
    x: Any,
    y: Any,
    scale: Any,
    angle: Any,
    shape: Any,
    *,
    size: int = 64,
    anti_aliasing: int = 5,
    color: Any = None,
    shapes: Mapping[str, Any] | Sequence[Any] | None = None,
    threads: int | None = None,
    out: UInt8[np.ndarray, "..."] | None = None,
) -> UInt8[np.ndarray, "..."]:
    """Render N sprites, one on each black image, as spriteworld's renderer does.

    Positions are in units of the image's side, (0, 0) bottom left and y up; images have their first row at the top.
    What lies off the image is cut off. A sprite smaller than a canvas pixel marks the pixels that Pillow marks.

    Args:
        x: [N] positions of the shape's origin, to the right.
        y: [N] positions, up.
        scale: [N] factors of the shape's size; the named shapes have area 1 at scale 1, the whole image's.
        angle: [N] degrees, anticlockwise, whole or not.
        shape: [N] names, or codes: places among the shapes. Each of these five may also be one value for all.
        size: rows and columns of an image in pixels.
        anti_aliasing: rows and columns of the canvas for each of an image.
        color: None for white; or red, green and blue [3], or [N, 3] for one each, as integers 0 … 255 or as floats in
            [0, 1], which are scaled to 255 and cut off as spriteworld does.
        shapes: shapes to choose among: name → vertices [V, 2], or a list of names and of vertices (x, y), y up, in
            units of the image's side for a sprite of scale 1. By default `natsprites.rendering.shapes.SHAPES`, the
            reference's four first.
        threads: number of threads; None takes as many as there are cores and sprites for.
        out: contiguous uint8 array of the result's shape to draw into, instead of a new one.

    Returns:
        uint8 [N, size, size] without a color, where a pixel is its channels' common value, or [N, 3, size, size].

    Raises:
        OptionError: an argument does not fit; the text names it, the place and what fits.

    Example:
        >>> from natsprites import render
        >>> images = render([0.3, 0.7], 0.5, scale=[0.2, 0.4], angle=[0, 45], shape=["star_4", "circle"])
        >>> images.shape, images.dtype, int(images.max())
        ((2, 64, 64), dtype('uint8'), 255)
    """
    renderer = Renderer(Outlines.of(shapes), size, anti_aliasing)
    return renderer.render(x, y, scale, angle, shape, color=color, threads=threads, out=out)
