"""Natural Sprites: rendered sprites that move and grow as the objects of real videos do."""

from __future__ import annotations
