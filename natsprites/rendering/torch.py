"""The sprite renderer in plain torch operations, for any device: the same bytes as `natsprites.rendering`, in batches.

Nothing waits for the device. Each product and each sum is an operation of its own, so that none is contracted; the sums
of the two resizing passes are whole numbers, which float64 adds exactly in any order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from natsprites.rendering.arguments import check_color, check_side, pack_sprites
from natsprites.rendering.options import SpriteOptions
from natsprites.rendering.shapes import Outlines
from natsprites.rendering.tables import PRECISION_BITS, lanczos_table
from temporalpairs.checks import computing_device, of_kind, shown
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor


_CHUNK_BYTES = 2**26  # of memory that a chunk of sprites may take; larger ones are no faster on a CPU
_CUDA_CHUNK_BYTES = 2**31  # a GPU has to start every operation for enough sprites to be busy
_CELL_BYTES = 40  # that a pixel of the canvas takes at the widest point
_FIELD = {torch.int32: 10, torch.int64: 20}  # bits of one of three counts that share a number
_FEW = 255  # corners of outlines whose counts fit int32: each makes up to two crossings
_WHITE = 255


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Edges of n outlines in canvas pixels, [n, V] each.

    Attributes:
        x0: int32, the column where an edge starts.
        y0: int32, the row where it starts.
        x1: int32, the column where it ends.
        first: int32, its lowest row.
        last: int32, its highest row.
        slope: float32, pixels to the right for each row.
        sloped: bool, true for the edges that are there and not horizontal.
        flat: bool, true for the horizontal ones.
    """

    x0: Tensor
    y0: Tensor
    x1: Tensor
    first: Tensor
    last: Tensor
    slope: Tensor
    sloped: Tensor
    flat: Tensor


class TorchRenderer:
    """Renders sprites of one set of shapes at one size on one device.

    Attributes:
        outlines: the shapes.
        size: rows and columns of an image in pixels.
        anti_aliasing: rows and columns of the canvas for each of an image.
        device: where images are rendered.
    """

    def __init__(
        self,
        outlines: Outlines | None = None,
        size: int = 64,
        anti_aliasing: int = 5,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        """Put the tables on the device.

        Raises:
            OptionError: size or anti_aliasing is not a whole number of at least 1, or the canvas is too large.
        """
        check_side(size, anti_aliasing)
        self.outlines = Outlines.of() if outlines is None else of_kind("outlines", outlines, Outlines, "Outlines")
        self.size, self.anti_aliasing, self.device = size, anti_aliasing, computing_device(device)
        starts = self.outlines.offsets[:-1]
        counts = np.diff(self.outlines.offsets)
        # Shorter outlines are filled up with corners that no edge uses.
        corners = np.minimum(np.arange(counts.max()), counts[:, None] - 1) + starts[:, None]
        self._vertices = torch.from_numpy(self.outlines.vertices[corners]).to(self.device)
        self._counts = torch.from_numpy(counts).to(self.device)
        # A tensor and not a number, by which CUDA would multiply with the reciprocal.
        self._white = torch.full((), float(_WHITE), device=self.device)
        self._coefficients = None
        if anti_aliasing > 1:
            by_output = np.diff(lanczos_table(size, anti_aliasing).by_output, axis=1)
            self._coefficients = torch.from_numpy(by_output.astype(np.float64)).to(self.device)

    @classmethod
    def of(cls, options: SpriteOptions, *, device: torch.device | str = "cpu") -> TorchRenderer:
        """Make the renderer of a dataset's options: its codes are the positions in ``options.shapes``.

        Raises:
            OptionError: a shape is unknown, or the size is no size.
        """
        of_kind("options", options, SpriteOptions, "SpriteOptions")
        outlines = Outlines.of({name: options.polygons.get(name, name) for name in options.shapes})
        return cls(outlines, options.size, options.anti_aliasing, device=device)

    def render(
        self,
        x: Any,
        y: Any,
        scale: Any,
        angle: Any,
        shape: Any,
        *,
        color: Any = None,
        dtype: torch.dtype = torch.uint8,
    ) -> Tensor:
        """Render sprites; see `render_torch`, which has the same arguments."""
        sprites = pack_sprites(self.outlines, x, y, scale, angle, shape, self.size * self.anti_aliasing)
        fills = np.full((1, 1), _WHITE, np.uint8) if color is None else check_color(color, len(sprites))
        out = self.render_packed(self._upload(sprites), self._upload(fills), dtype)
        return out[:, 0] if color is None and dtype == torch.uint8 else out

    def render_packed(self, sprites: Tensor, fills: Tensor, dtype: torch.dtype = torch.uint8) -> Tensor:
        """Render sprites that lie on the device already, and check nothing.

        Args:
            sprites: float64 [n, 6], as `natsprites.rendering.arguments.pack_sprites` gives them.
            fills: uint8 [1 or n, channels], the color of all, or of each.
            dtype: uint8 for 0 … 255, float32 for the same divided by 255.

        Returns:
            [n, channels, size, size].

        Raises:
            OptionError: another dtype.
        """
        wanted: Any = dtype
        if not isinstance(wanted, torch.dtype) or dtype not in (torch.uint8, torch.float32):
            raise OptionError(f"dtype={shown(dtype)}: images are torch.uint8, or torch.float32 in [0, 1].")
        n = len(sprites)
        out = torch.empty((n, fills.shape[1], self.size, self.size), dtype=dtype, device=self.device)
        side = self.size * self.anti_aliasing
        room = _CUDA_CHUNK_BYTES if self.device.type == "cuda" else _CHUNK_BYTES
        chunk = max(1, room // (_CELL_BYTES * side * (side + 2 * self._vertices.shape[1])))
        for start in range(0, n, chunk):
            some = slice(start, start + chunk)
            covered = _cover(self._find_edges(sprites[some]), side)
            colors = fills if len(fills) == 1 else fills[some]
            for channel in range(fills.shape[1]):
                pixels = self._shrink(covered, colors[:, channel, None, None])
                out[some, channel] = pixels if dtype == torch.uint8 else pixels.to(dtype) / self._white
        return out

    def _upload(self, values: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(values)
        # A copy from pageable memory would wait for the device.
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else tensor

    def _find_edges(self, sprites: Tensor) -> _Edges:
        """Place outlines on the canvas, product by product as matplotlib does, and truncate and join them as Pillow."""
        side = float(self.size * self.anti_aliasing)
        code = sprites[:, 5].long()
        u, v = self._vertices[code].unbind(2)
        count = self._counts[code, None]
        x, y, scale, cos, sin, _ = sprites.t()[:, :, None]
        along, across = cos * scale, sin * scale
        corner_x = (side * ((along * u + -across * v) + x)).int()
        corner_y = (side * ((across * u + along * v) + y)).int()
        place = torch.arange(u.shape[1], device=u.device)
        following = torch.where(place + 1 < count, place + 1, 0)
        x1, y1 = corner_x.gather(1, following), corner_y.gather(1, following)
        # An outline that ends where it began has no edge to close it.
        closed = (place + 1 == count) & (corner_x == x1) & (corner_y == y1)
        there = (place < count) & ~closed
        level = corner_y == y1
        return _Edges(
            x0=corner_x,
            y0=corner_y,
            x1=x1,
            first=torch.minimum(corner_y, y1),
            last=torch.maximum(corner_y, y1),
            slope=(x1 - corner_x).float() / torch.where(level, 1, y1 - corner_y).float(),
            sloped=there & ~level,
            flat=there & level,
        )

    def _shrink(self, covered: Tensor, fill: Tensor) -> Tensor:
        """Turn covered canvas pixels into images of one color: uint8 [n, size, size], the first row at the top."""
        if self._coefficients is None:
            return (covered * fill).flip(1)
        lines = _clip(covered.double() @ self._coefficients.t() * fill)
        return _clip(self._coefficients @ lines.double()).flip(1)


def render_torch(
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
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.uint8,
) -> Tensor:
    """Render N sprites on a device; the arguments are those of `natsprites.rendering.render`, on the host.

    Args:
        x: [N] positions of the shape's origin, to the right.
        y: [N] positions, up.
        scale: [N] factors of the shape's size.
        angle: [N] degrees, anticlockwise.
        shape: [N] names or codes.
        size: rows and columns of an image in pixels.
        anti_aliasing: rows and columns of the canvas for each of an image.
        color: None for white; or red, green and blue [3], or [N, 3].
        shapes: shapes to choose among.
        device: where to render, and where the images stay.
        dtype: torch.uint8, or torch.float32 for images in [0, 1].

    Returns:
        uint8 [N, size, size] without a color, [N, 3, size, size] with one; float32 [N, 1 or 3, size, size] in [0, 1],
        the bytes divided by 255.

    Raises:
        OptionError: an argument does not fit; the text names it, the place and what fits.
    """
    renderer = TorchRenderer(Outlines.of(shapes), size, anti_aliasing, device=device)
    return renderer.render(x, y, scale, angle, shape, color=color, dtype=dtype)


def _clip(sums: Tensor) -> Tensor:
    """Resample.c's clip8, behind the half unit that its sums start from."""
    return ((sums.int() + (1 << (PRECISION_BITS - 1))) >> PRECISION_BITS).clamp(0, _WHITE).to(torch.uint8)


def _crossing(row: Tensor, y0: Tensor, slope: Tensor, x0: Tensor) -> Tensor:
    """Where edges cross rows, in float32 as Draw.c computes it."""
    return (row - y0).float() * slope + x0.float()


def _round_half_away(x: Tensor) -> Tensor:
    """C's roundf."""
    return torch.copysign((x.double().abs() + 0.5).floor(), x.double()).float()


def _join_corners(edges: _Edges, row: Tensor) -> Tensor:
    """Where edges cross their first or last row, moved to where an earlier edge continues (Draw.c, polygon_generic).

    Args:
        edges: the edges, [n, V].
        row: int32 [n, V], one of the two rows for each edge.

    Returns:
        float32 [n, V].
    """
    x = _crossing(row, edges.y0, edges.slope, edges.x0)
    step = torch.where(row == edges.last, -1, 1).int()

    def others(values: Tensor) -> Tensor:
        return values[:, None, :].expand(-1, values.shape[1], -1)

    # [n, i, k]: at the end of edge i, edge k ends too, at the same pixel, and goes on in the row that i comes from.
    there = row[:, :, None]
    near = (row + step)[:, :, None]
    over = _crossing(there, others(edges.y0), others(edges.slope), others(edges.x0))
    beyond = _crossing(near, others(edges.y0), others(edges.slope), others(edges.x0))
    joined = others(edges.sloped & (edges.slope != 0)) & (
        (there == others(edges.first)) | (there == others(edges.last))
    )
    joined = joined & (_round_half_away(x)[:, :, None] == _round_half_away(over))
    joined = joined & (near >= others(edges.first)) & (near <= others(edges.last))
    place = torch.arange(x.shape[1], device=x.device)
    joined = joined & (place < place[:, None])
    first = torch.where(joined, place, x.shape[1]).amin(2)
    found = (first < x.shape[1]) & (edges.slope != 0)
    a = _crossing(row + step, edges.y0, edges.slope, edges.x0)
    b = beyond.gather(2, first.clamp(max=x.shape[1] - 1)[:, :, None])[:, :, 0]
    highest, lowest = torch.maximum(a, b), torch.minimum(a, b)
    x = torch.where(found & (x > a + 1) & (x > b + 1), _round_half_away(highest) + 1, x)
    moved_left = found & (x < a - 1) & (x < b - 1)
    return torch.where(moved_left, _round_half_away(lowest) - 1, x)


def _cover(edges: _Edges, side: int) -> Tensor:
    """Fill outlines as Draw.c's polygon_generic: bool [n, side, side], the first row at the bottom of the image.

    Pillow sorts the crossings of a row and fills from each one at an even place to the next. Rounded, they stay in
    order: what place a crossing has follows from how many begin or end before a pixel, and nothing needs to be sorted.
    """
    n, corners = edges.x0.shape
    device = edges.x0.device
    number = torch.int32 if corners <= _FEW else torch.int64
    field = _FIELD[number]
    bottom = torch.where(edges.sloped, edges.last, 0).amax(1, keepdim=True).clamp(0, side)
    rows = torch.arange(side, dtype=torch.int32, device=device)[None, :, None]
    first, last = edges.first[:, None], edges.last[:, None]
    active = edges.sloped[:, None] & (rows >= first) & (rows <= last)
    x = _crossing(rows, edges.y0[:, None], edges.slope[:, None], edges.x0[:, None])
    twice = active & (rows == last) & (rows < bottom[:, None])
    x = torch.where(active & (rows == first), _join_corners(edges, edges.first)[:, None], x)
    x = torch.where(active & (rows == last) & ~twice, _join_corners(edges, edges.last)[:, None], x)

    # ROUND_UP and ROUND_DOWN of Draw.c: float32 sums for x ≥ 0, exact ones below; what lies off the canvas is clamped.
    begin = torch.where(x >= 0, (x + 0.5).floor(), 0).clamp(0, side).long()
    end = torch.where(x >= 0, (x - 0.5).ceil() + 1, (x >= -0.5).float()).clamp(0, side).long()
    weight = active.to(number) + twice.to(number)
    # Three counts in one number: crossings that begin up to a pixel, that end before it, horizontal edges over it.
    counts = torch.zeros((n, side, side + 1), dtype=number, device=device)
    counts.scatter_add_(2, begin, weight)
    counts.scatter_add_(2, end, weight << field)
    over_row = (edges.flat[:, None] & (edges.y0[:, None] == rows)).to(number) << (2 * field)
    start = torch.minimum(edges.x0, edges.x1).clamp(0, side).long()[:, None].expand(-1, side, -1)
    stop = (torch.maximum(edges.x0, edges.x1) + 1).clamp(0, side).long()[:, None].expand(-1, side, -1)
    counts.scatter_add_(2, start, over_row)
    counts.scatter_add_(2, stop, -over_row)
    counts = counts.cumsum(2, dtype=number)[:, :, :side]
    mask = (1 << field) - 1
    begun, ended, flats = counts & mask, (counts >> field) & mask, counts >> (2 * field)
    # The crossing at place k and its successor enclose a pixel if ended - 1 ≤ k ≤ begun - 1; an even k is looked for.
    from_place = (ended - 1).clamp(min=0)
    from_place = from_place + (from_place & 1)
    to_place = torch.minimum(begun - 1, weight.sum(2, keepdim=True, dtype=number) - 2)
    return (from_place <= to_place) | (flats > 0)
