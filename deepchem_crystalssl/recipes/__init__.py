"""The workflows of the command line, each as one function: train, evaluate and embed."""

from .._names import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
