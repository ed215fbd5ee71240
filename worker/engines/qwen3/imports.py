"""Keeps out of memory what Qwen's package imports and recognition never uses."""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

_NAGISA = "nagisa"

# What transformers imports if it is installed, for other ways to generate and for training.
_UNUSED = ("pandas", "scipy", "sklearn")


class _DeferredNagisa(ModuleType):
    """Stands for `nagisa` until somebody uses it, and then makes way for it."""

    def __getattr__(self, name: str) -> Any:
        # The import system and inspection ask every module for names like `__path__`.
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(_NAGISA) is self:
            del sys.modules[_NAGISA]
        return getattr(importlib.import_module(_NAGISA), name)


def defer_nagisa() -> None:
    """Have the next `import nagisa` load nothing: only word times in Japanese need its 200 MB."""
    if _NAGISA not in sys.modules:
        deferred = _DeferredNagisa(_NAGISA)
        deferred.__spec__ = ModuleSpec(_NAGISA, None)
        sys.modules[_NAGISA] = deferred


@contextmanager
def hide_unused_packages() -> Iterator[None]:
    """Have transformers, imported within, find none of the packages that recognition never uses.

    It looks for them only once, while it is imported; afterwards whoever needs them gets them.
    """
    hidden = [name for name in _UNUSED if name not in sys.modules]
    # None is the import system's own mark for a module that is not to be found.
    cast("dict[str, ModuleType | None]", sys.modules).update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def silence_transformers() -> None:
    """Keep the advice to developers that transformers logs at each call out of the log."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
