"""Five datasets with a full grid of factors, served in pairs whose factors move by a law that the user chooses."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
