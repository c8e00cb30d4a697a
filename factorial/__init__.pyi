from .transitions import Transition as Transition
