"""Which windows of a KITTI Masks store a dataset serves; nothing here needs PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from kittimasks.card import DESCRIPTION
from temporalpairs.checks import shown
from temporalpairs.errors import OptionError, WrongStoreError
from temporalpairs.loaders.source import compose
from temporalpairs.loaders.splits import choose
from temporalpairs.loaders.windows import Windows
from temporalpairs.store import Store

if TYPE_CHECKING:
    from temporalpairs.loaders.options import WindowOptions
    from temporalpairs.loaders.source import WindowSource
    from temporalpairs.loaders.splits import Split


def choose_windows(
    store: Store, split: Split, options: WindowOptions
) -> tuple[Int64[np.ndarray, "chosen"], WindowSource]:
    """Return the indices of a split's sequences and their windows.

    Raises:
        WrongStoreError: the store holds another dataset.
        OptionError: an option does not fit, or nothing fits it.
    """
    if not isinstance(store, Store):
        raise OptionError(f"store={shown(store)}: give what read_store() returns.")
    if store.attributes["dataset"] != DESCRIPTION.dataset:
        raise WrongStoreError(
            store.path, f"it holds {store.attributes['title']}, not {DESCRIPTION.title}", f"a {DESCRIPTION.title} store"
        )
    chosen = choose(store.sequences, store.attributes["videos"], split)
    windows = Windows.of(store.sequences, chosen, options)
    return chosen, compose(
        windows,
        windows.last.astype(np.int64),
        one_per_sequence=options.one_per_sequence,
        negatives=options.negatives,
    )
