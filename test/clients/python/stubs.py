"""PyTorch, for modules that only name it: trl's client imports it, and uses it for NCCL alone."""

import importlib.machinery
import sys
import types

import transformers.utils  # looks for the real one, and is content without  # noqa: F401


class _Named(types.ModuleType):
    """A module of which every name is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (), {})
        setattr(self, name, value)
        return value


def stand_in(*names: str) -> None:
    """Puts empty modules where these would be, with what holds them."""
    for name in names:
        module = _Named(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        sys.modules[name] = module
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
