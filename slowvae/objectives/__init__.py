"""What training makes smaller: a module for each objective, found by its name.

`slowvae.objectives.base.Objective` is what each of them is; docs/extending.md writes one. Yours needs no entry
here: ``objective="package.module:Class"`` names it, and in Python the class itself does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from temporalpairs.checks import shown
from temporalpairs.errors import OptionError

if TYPE_CHECKING:
    from slowvae.objectives.base import Objective

OBJECTIVES: dict[str, str] = {
    "slowvae": "slowvae.objectives.slowvae:SlowVAEObjective",
    "beta-vae": "slowvae.objectives.beta_vae:BetaVAE",
    "factor-vae": "slowvae.objectives.factor_vae:FactorVAE",
    "beta-tcvae": "slowvae.objectives.beta_tcvae:BetaTCVAE",
    "ada-gvae": "slowvae.objectives.ada_gvae:AdaGVAE",
    "pcl": "slowvae.objectives.pcl:PCL",
    "cl-ica": "slowvae.objectives.cl_ica:CLICA",
    "vicreg": "slowvae.objectives.vicreg:VICReg",
    "pca": "slowvae.objectives.pixels:PCA",
    "ica": "slowvae.objectives.pixels:ICA",
    "untrained": "slowvae.objectives.pixels:Untrained",
}
"""Where each objective's class is, by its name."""


def find_objective(word: Any) -> type[Objective]:
    """Return an objective's class.

    Args:
        word: one of `OBJECTIVES`, or where a class of your own is, as ``"package.module:Class"``.

    Raises:
        OptionError: there is none.

    Example:
        ```python
        from slowvae.objectives import find_objective

        find_objective("beta-vae").title
        ```
    """
    from slowvae.objectives.base import Objective

    place = OBJECTIVES.get(word, word) if isinstance(word, str) else ""
    module, _, name = place.partition(":")
    if not name:
        known = ", ".join(OBJECTIVES)
        raise OptionError(
            f"objective={shown(word)} is unknown; there are {known}, and package.module:Class of your own."
        )
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(f"objective={shown(word)}: there is no such class ({error}).") from error
    if not (isinstance(found, type) and issubclass(found, Objective)):
        raise OptionError(f"objective={shown(word)} is no subclass of slowvae.Objective.")
    return found


def place_of(kind: type[Objective]) -> str:
    """Return the word by which `find_objective` finds a class."""
    place = f"{kind.__module__}:{kind.__qualname__}"
    return next((word for word, known in OBJECTIVES.items() if known == place), place)
