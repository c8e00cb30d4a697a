"""temporal-pairs: temporally sparse pairs of images with known factors, for research on disentanglement.

The ground floor, which every other room stands on: errors, tracked masks, sequences, the store, downloads and the
table of datasets. Data walk one way: raw annotation → `MaskTrack` → `Sequences` → store → dataset → loader → model.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
