"""Stores to tensors: windows of sequences, splits, and datasets of them.

The datasets themselves are `kittimasks.KittiMasks` and its like; here is what they are made of.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
