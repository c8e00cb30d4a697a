"""Compiled loops of the sprite renderer: Pillow's polygon fill and Lanczos resize; called by `rendering` only.

Every kernel is single-threaded, releases the GIL (so threads run them side by side) and is cached on disk after its
first compilation. No kernel calls a sine or cosine, and none contracts a product and a sum: results are Pillow's bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from natsprites.rendering.tables import BLOCK, PRECISION_BITS
from temporalpairs.compiled import kernel

_HALF = 1 << (PRECISION_BITS - 1)
_FINE = 1 << 20  # canvas pixels up to which float32 crossings err by less than one


@kernel
def _round_half_away(x: Any) -> Any:
    """C's roundf."""
    whole = math.floor(abs(np.float64(x)) + 0.5)
    return np.float32(whole) if x >= 0 else np.float32(-whole)


@kernel
def _first_pixel(x: Any) -> Any:
    """Draw.c's ROUND_UP, whose sum is a float32 for x ≥ 0 and a float64 below."""
    if x >= 0:
        return np.int64(np.float32(x + np.float32(0.5)))
    return np.int64(-math.floor(np.float64(-x) + 0.5))


@kernel
def _last_pixel(x: Any) -> Any:
    """Draw.c's ROUND_DOWN."""
    if x >= 0:
        below = np.float32(x - np.float32(0.5))
        whole = np.int64(below)
        return whole + 1 if below > whole else whole
    return np.int64(-math.ceil(np.float64(-x) - 0.5))


@kernel
def _crossing(row: Any, y0: Any, slope: Any, x0: Any) -> Any:
    """Where an edge crosses a row, in float32 as Draw.c computes it."""
    return np.float32(np.float32(np.float32(row - y0) * slope) + np.float32(x0))


@kernel
def _join_corner(edges: Any, slopes: Any, i: Any, row: Any, x: Any) -> Any:
    """Move the end of edge i to where an earlier edge that it joins continues (Draw.c, "connect … corners").

    Without it, the tip of two flat edges would lie some pixels away from the next row's run.
    """
    step = -1 if row == edges[i, 3] else 1
    for k in range(i):
        if (row != edges[k, 2] and row != edges[k, 3]) or slopes[k] == 0:
            continue
        if _round_half_away(x) != _round_half_away(_crossing(row, edges[k, 1], slopes[k], edges[k, 0])):
            continue
        near = row + step
        if near < edges[k, 2] or near > edges[k, 3]:
            continue
        a = _crossing(near, edges[i, 1], slopes[i], edges[i, 0])
        b = _crossing(near, edges[k, 1], slopes[k], edges[k, 0])
        one = np.float32(1)
        if x > np.float32(a + one) and x > np.float32(b + one):
            return np.float32(_round_half_away(max(a, b)) + one)
        if x < np.float32(a - one) and x < np.float32(b - one):
            return np.float32(_round_half_away(min(a, b)) - one)
        return x
    return x


@kernel
def _find_edges(corners: Any, n: Any, edges: Any, slopes: Any, flats: Any) -> Any:
    """Split a polygon's outline into edges and horizontal ones, as Draw.c's ImagingDrawPolygon.

    Args:
        corners: int64 [≥ n, 2], (x, y) in canvas pixels.
        n: number of corners.
        edges: int64 [≥ n, 4], filled with x0, y0, lowest and highest row.
        slopes: float32 [≥ n], filled with pixels to the right for each row.
        flats: int64 [≥ n, 3], filled with row, first and last pixel of the horizontal edges.

    Returns:
        Number of edges, number of horizontal ones.
    """
    n_edges = 0
    n_flats = 0
    for i in range(n):
        j = i + 1
        if j == n:
            j = 0
            # An outline that ends where it began has no edge to close it.
            if corners[i, 0] == corners[0, 0] and corners[i, 1] == corners[0, 1]:
                break
        x0, y0, x1, y1 = corners[i, 0], corners[i, 1], corners[j, 0], corners[j, 1]
        if y0 == y1:
            flats[n_flats, 0] = y0
            flats[n_flats, 1] = min(x0, x1)
            flats[n_flats, 2] = max(x0, x1)
            n_flats += 1
        else:
            edges[n_edges, 0] = x0
            edges[n_edges, 1] = y0
            edges[n_edges, 2] = min(y0, y1)
            edges[n_edges, 3] = max(y0, y1)
            slopes[n_edges] = np.float32(np.float32(x1 - x0) / np.float32(y1 - y0))
            n_edges += 1
    return n_edges, n_flats


@kernel
def _find_crossings(edges: Any, slopes: Any, n_edges: Any, rows: Any, crossings: Any, counts: Any) -> None:
    """Note for every row of the canvas where the edges cross it (Draw.c, polygon_generic), unsorted.

    Args:
        edges: from `_find_edges`, the first ``n_edges`` of them.
        slopes: float32, the slope of each edge, from `_find_edges`.
        n_edges: number of edges.
        rows: rows of the canvas.
        crossings: float32 [rows, ≥ 2 · edges], filled.
        counts: int64 [rows], zero where the polygon's rows are; filled with the crossings of each.
    """
    bottom = 0
    for i in range(n_edges):
        bottom = max(bottom, edges[i, 3])
    bottom = min(bottom, rows)
    for i in range(n_edges):
        x0, y0, first, last, slope = edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3], slopes[i]
        for row in range(max(first, 0), min(last, rows - 1) + 1):
            n = counts[row]
            crossings[row, n] = _crossing(row, y0, slope, x0)
            counts[row] = n + 1
        if 0 <= first < rows and slope != 0:
            n = counts[first] - 1
            crossings[first, n] = _join_corner(edges, slopes, i, first, crossings[first, n])
        if 0 <= last < rows:
            n = counts[last]
            if last < bottom:
                crossings[last, n] = crossings[last, n - 1]
                counts[last] = n + 1
            elif slope != 0:
                crossings[last, n - 1] = _join_corner(edges, slopes, i, last, crossings[last, n - 1])


@kernel
def _find_runs(row: Any, crossings: Any, n: Any, flats: Any, n_flats: Any, columns: Any, runs: Any) -> Any:
    """List the disjoint runs of filled pixels of one row, left to right.

    Args:
        row: the row.
        crossings: float32 [rows, ≥ n], those of the row are sorted in place.
        n: number of crossings of the row.
        flats: from `_find_edges`, the first ``n_flats`` of them.
        n_flats: number of horizontal edges.
        columns: columns of the canvas.
        runs: int64 [room, 2], filled with the first pixel and the one behind the last.

    Returns:
        Number of runs.
    """
    for i in range(1, n):
        x = crossings[row, i]
        j = i
        while j > 0 and crossings[row, j - 1] > x:
            crossings[row, j] = crossings[row, j - 1]
            j -= 1
        crossings[row, j] = x
    n_runs = 0
    for i in range(1, n, 2):
        start = max(_first_pixel(crossings[row, i - 1]), 0)
        stop = min(_last_pixel(crossings[row, i]) + 1, columns)
        if start < stop:
            runs[n_runs, 0] = start
            runs[n_runs, 1] = stop
            n_runs += 1
    for i in range(n_flats):
        if flats[i, 0] == row:
            start = max(flats[i, 1], 0)
            stop = min(flats[i, 2] + 1, columns)
            if start < stop:
                j = n_runs
                while j > 0 and runs[j - 1, 0] > start:
                    runs[j] = runs[j - 1]
                    j -= 1
                runs[j, 0] = start
                runs[j, 1] = stop
                n_runs += 1
    if n_runs < 2:
        return n_runs
    kept = 0
    for i in range(1, n_runs):
        if runs[i, 0] <= runs[kept, 1]:
            runs[kept, 1] = max(runs[kept, 1], runs[i, 1])
        else:
            kept += 1
            runs[kept] = runs[i]
    return kept + 1


@kernel
def _clip(total: Any) -> Any:
    """Resample.c's clip8."""
    level: Any = min(max(np.int32(total) >> np.int32(PRECISION_BITS), 0), 255)
    return np.uint8(level)


@kernel
def _shrink_row(
    runs: Any, n_runs: Any, prefix: Any, left: Any, right: Any, fill: Any, sums: Any, lines: Any, band: Any
) -> None:
    """Shrink one row horizontally (Resample.c): each run is one difference of two rows of the table.

    Args:
        runs: from `_find_runs`, the first ``n_runs`` of them.
        n_runs: number of runs, at least 1.
        prefix: `LanczosTable.prefix`.
        left: first output column to compute; unsigned, which spares every access a look for indices below 0.
        right: the one behind the last.
        fill: color, 0 … 255.
        sums: int32 [columns], scratch.
        lines: uint8 [> band, columns], filled in these columns of row ``band``.
        band: where to.
    """
    color = np.int32(fill)
    half = np.int32(_HALF)
    start, stop = runs[0, 0], runs[0, 1]
    if n_runs == 1:
        for c in range(left, right):
            lines[band, c] = _clip(np.int32(np.int32(prefix[stop, c] - prefix[start, c]) * color) + half)
        return
    for c in range(left, right):
        sums[c] = prefix[stop, c] - prefix[start, c]
    for i in range(1, n_runs):
        start, stop = runs[i, 0], runs[i, 1]
        for c in range(left, right):
            sums[c] += np.int32(prefix[stop, c] - prefix[start, c])
    for c in range(left, right):
        lines[band, c] = _clip(np.int32(sums[c] * color) + half)


@kernel
def _shrink_columns(
    lines: Any,
    bands: Any,
    n_bands: Any,
    by_output: Any,
    bounds: Any,
    reach: Any,
    left: Any,
    right: Any,
    sums: Any,
    out: Any,
) -> None:
    """Shrink vertically (Resample.c) and flip: each band of equal rows counts once, with the sum of its coefficients.

    Args:
        lines: uint8 [≥ n_bands + 3, columns], from `_shrink_row`, one for each band.
        bands: int64 [≥ n_bands + 3, 2], first row and the one behind the last; three empty ones follow the last.
        n_bands: number of bands, at least 1.
        by_output: `LanczosTable.by_output`.
        bounds: `LanczosTable.bounds`.
        reach: `LanczosTable.reach`.
        left: first output column to compute, unsigned.
        right: the one behind the last.
        sums: int32 [columns], scratch.
        out: uint8 [size, size], filled where it is not black.
    """
    size = out.shape[0]
    half = np.int32(_HALF)
    from_band = 0
    for o in range(reach[bands[0, 0], 0], reach[bands[n_bands - 1, 1] - 1, 1] + 1):
        low, high = bounds[o, 0], bounds[o, 1]
        while from_band < n_bands and bands[from_band, 1] <= low:
            from_band += 1
        for c in range(left, right):
            sums[c] = half
        # Four at a time: the sums are loaded and stored a quarter as often. Bands out of reach weigh nothing.
        b = from_band
        while b < n_bands and bands[b, 0] < high:
            w0 = np.int32(by_output[o, bands[b, 1]] - by_output[o, bands[b, 0]])
            w1 = np.int32(by_output[o, bands[b + 1, 1]] - by_output[o, bands[b + 1, 0]])
            w2 = np.int32(by_output[o, bands[b + 2, 1]] - by_output[o, bands[b + 2, 0]])
            w3 = np.int32(by_output[o, bands[b + 3, 1]] - by_output[o, bands[b + 3, 0]])
            for c in range(left, right):
                sums[c] += np.int32(
                    np.int32(np.int32(w0 * np.int32(lines[b, c])) + np.int32(w1 * np.int32(lines[b + 1, c])))
                    + np.int32(np.int32(w2 * np.int32(lines[b + 2, c])) + np.int32(w3 * np.int32(lines[b + 3, c])))
                )
            b += 4
        for c in range(left, min(right, np.uint64(size))):
            out[size - 1 - o, c] = _clip(sums[c])


@kernel
def _place_corners(sprite: Any, vertices: Any, first: Any, n: Any, side: Any, corners: Any) -> None:
    """Turn vertices into canvas pixels, product by product as matplotlib's C++ does, and truncate them as Pillow."""
    x, y, scale, cos, sin = sprite[0], sprite[1], sprite[2], sprite[3], sprite[4]
    xx, xy, yx, yy = cos * scale, -sin * scale, sin * scale, cos * scale
    for i in range(n):
        u, v = vertices[first + i, 0], vertices[first + i, 1]
        corners[i, 0] = np.int64(side * ((xx * u + xy * v) + x))
        corners[i, 1] = np.int64(side * ((yx * u + yy * v) + y))


@kernel
def render_sprites(
    sprites: Any,
    vertices: Any,
    offsets: Any,
    factor: Any,
    prefix: Any,
    by_output: Any,
    bounds: Any,
    reach: Any,
    fills: Any,
    out: Any,
) -> None:
    """Render sprites one after the other.

    Args:
        sprites: float64 [n, 6], as `arguments.pack_sprites` gives them: nothing is checked here.
        vertices: float64 [sum of V, 2], the shapes' vertices (x, y) in sequence.
        offsets: int64 [shapes + 1], where each shape's vertices start.
        factor: canvas pixels an output pixel; with 1 nothing is resized and the tables are not looked at.
        prefix: `LanczosTable.prefix`.
        by_output: `LanczosTable.by_output`.
        bounds: `LanczosTable.bounds`.
        reach: `LanczosTable.reach`.
        fills: uint8 [1 or n, channels], the color of all, or of each.
        out: uint8 [n, channels, size, size], filled.
    """
    size = out.shape[2]
    channels = out.shape[1]
    side = size * factor
    room = 0
    for i in range(offsets.size - 1):
        room = max(room, offsets[i + 1] - offsets[i])
    corners = np.empty((room, 2), np.int64)
    edges = np.empty((room, 4), np.int64)
    flats = np.empty((room, 3), np.int64)
    slopes = np.empty(room, np.float32)
    crossings = np.empty((side, 2 * room), np.float32)
    counts = np.zeros(side, np.int64)
    runs = np.empty((2 * room, 2), np.int64)
    last_runs = np.empty((2 * room, 2), np.int64)
    bands = np.empty((side + 3, 2), np.int64)
    columns = prefix.shape[1]
    lines = np.zeros((channels, side + 3 if factor > 1 else 0, columns), np.uint8)
    sums = np.empty(columns, np.int32)
    for s in range(sprites.shape[0]):
        image = out[s]
        image[:] = 0
        colors = fills[s if fills.shape[0] > 1 else 0]
        code = np.int64(sprites[s, 5])
        n = offsets[code + 1] - offsets[code]
        _place_corners(sprites[s], vertices, offsets[code], n, np.float64(side), corners)
        top, bottom, west, east = side, -1, side, -1
        for i in range(n):
            west, east = min(west, corners[i, 0]), max(east, corners[i, 0])
            top, bottom = min(top, corners[i, 1]), max(bottom, corners[i, 1])
        top, bottom = max(top, 0), min(bottom, side - 1)
        # A crossing may be rounded a pixel beyond the outermost corner, and by more where float32 is coarse.
        far = west < -_FINE or east > _FINE
        west, east = (0, side - 1) if far else (max(west - 2, 0), min(east + 2, side - 1))
        if top > bottom or west > east:
            continue
        n_edges, n_flats = _find_edges(corners, n, edges, slopes, flats)
        counts[top : bottom + 1] = 0
        _find_crossings(edges, slopes, n_edges, side, crossings, counts)
        left, right = np.uint64(0), np.uint64(0)
        if factor > 1:
            # Whole blocks: the compiler's vector loops leave no remainder, which would take longer than the rest.
            left = np.uint64(reach[west, 0] // BLOCK * BLOCK)
            right = np.uint64((reach[east, 1] // BLOCK + 1) * BLOCK)
        n_bands = 0
        n_last = 0
        for row in range(top, bottom + 1):
            n_runs = _find_runs(row, crossings, counts[row], flats, n_flats, side, runs)
            if n_runs == 0:
                n_last = 0
                continue
            if factor == 1:
                for channel in range(channels):
                    for i in range(n_runs):
                        image[channel, size - 1 - row, runs[i, 0] : runs[i, 1]] = colors[channel]
                continue
            same = n_runs == n_last
            for i in range(n_runs):
                same = same and runs[i, 0] == last_runs[i, 0] and runs[i, 1] == last_runs[i, 1]
            if same:
                bands[n_bands - 1, 1] = row + 1
                continue
            bands[n_bands, 0], bands[n_bands, 1] = row, row + 1
            for channel in range(channels):
                _shrink_row(runs, n_runs, prefix, left, right, colors[channel], sums, lines[channel], n_bands)
            runs, last_runs = last_runs, runs
            n_last = n_runs
            n_bands += 1
        bands[n_bands : n_bands + 3] = 0
        if n_bands > 0:
            for channel in range(channels):
                _shrink_columns(
                    lines[channel], bands, n_bands, by_output, bounds, reach, left, right, sums, image[channel]
                )
