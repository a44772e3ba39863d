"""Names of the version before this one: they still work, and a ``FutureWarning`` gives the new name."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

T = TypeVar("T", bound=Callable)


def warn_of_new_name(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that ``old`` is now called ``new``."""
    warnings.warn(
        f"{old} is now called {new}; the old name will be removed in the next version", FutureWarning, stacklevel
    )


def renamed_arguments(**new_names: str) -> Callable[[T], T]:
    """Decorate a function, or a dataclass, so that keyword arguments are accepted under their old names too.

    Attributes of a class with renamed fields can be read under the old names as well.

    Parameters
    ----------
    **new_names : str
        ``old_name="new_name"`` for each argument.

    Examples
    --------
    >>> @renamed_arguments(share="mask_rate")
    ... def mask(mask_rate):
    ...     return mask_rate
    >>> mask(share=0.15)
    0.15
    """

    def decorate(target: Any) -> Any:
        called = target.__init__ if isinstance(target, type) else target
        owner = target.__name__

        @wraps(called)
        def accept(*args: Any, **kwargs: Any) -> Any:
            for old, new in new_names.items():
                if old in kwargs:
                    if new in kwargs:
                        raise TypeError(f"{owner}() got both {old!r} and its new name {new!r}")
                    warn_of_new_name(f"{owner}({old}=)", f"{new}=")
                    kwargs[new] = kwargs.pop(old)
            return called(*args, **kwargs)

        if not isinstance(target, type):
            return accept
        target.__init__ = accept  # type: ignore[misc]
        for old, new in new_names.items():
            setattr(target, old, _renamed_attribute(owner, old, new))
        return target

    return decorate


def _renamed_attribute(owner: str, old: str, new: str) -> property:
    def read(self: Any) -> Any:
        warn_of_new_name(f"{owner}.{old}", new)
        return getattr(self, new)

    return property(read, doc=f"The old name of ``{new}``.")


def renamed_names(module: str, new_names: Mapping[str, Any]) -> Callable[[str], Any]:
    """A module's ``__getattr__`` that finds objects under their old names.

    Parameters
    ----------
    module : str
        Its ``__name__``.
    new_names : dict
        Old name to the object, which has a ``__name__`` if it is a class or a function.
    """

    def find(name: str) -> Any:
        if name not in new_names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        found = new_names[name]
        warn_of_new_name(f"{module}.{name}", getattr(found, "__name__", str(found)))
        return found

    return find
