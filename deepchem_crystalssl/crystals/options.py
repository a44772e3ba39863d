"""One list of options for several functions, and checks of the values of options."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import wraps
from numbers import Real
from typing import Any, ParamSpec, TypeVar

from ..errors import OptionError

P = ParamSpec("P")
T = TypeVar("T")


def with_arguments_of(function: Callable[P, Any]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the arguments of another one, so that their options are written down once.

    Parameters
    ----------
    function : callable
        Its arguments, their defaults and their types become those of the decorated function, in ``help()`` and for
        type checkers too.

    Returns
    -------
    callable
        A decorator of a function ``f(**arguments)``, which receives those arguments that the caller gave, by name.

    Raises
    ------
    TypeError
        When the decorated function is called with an argument that the other one does not have.

    Examples
    --------
    >>> def iterate_squares(numbers, *, start=0):
    ...     return (number**2 + start for number in numbers)
    >>> @with_arguments_of(iterate_squares)
    ... def list_squares(**arguments):
    ...     return list(iterate_squares(**arguments))
    >>> list_squares([1, 2], start=1), str(inspect.signature(list_squares))
    ([2, 5], '(numbers, *, start=0)')
    """
    signature = inspect.signature(function)

    def decorate(body: Callable[..., T]) -> Callable[P, T]:
        @wraps(body)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{body.__name__}() {error}") from None
            return body(**bound.arguments)

        returned = inspect.signature(body).return_annotation
        call.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined]
        call.__annotations__ = {**function.__annotations__, "return": returned}
        return call

    return decorate


def check_count(name: str, value: Any, least: int) -> None:
    """Refuse what is not a whole number of at least ``least``.

    Raises
    ------
    OptionError
    """
    try:
        whole = int(value) == value
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or value < least:
        raise OptionError(name, repr(value), f"{name} must be a whole number of at least {least}")


def check_seed(name: str, value: Any) -> None:
    """Refuse what is not a whole number from 0 to 2³² - 1, the seeds of NumPy and PyTorch.

    Raises
    ------
    OptionError
    """
    try:
        check_count(name, value, 0)
        is_seed = value < 2**32
    except OptionError:
        is_seed = False
    if not is_seed:
        rule = f"{name} must be a whole number from 0 to {2**32 - 1}"
        raise OptionError(name, repr(value), rule, f"Give {name} such a number, or leave it out.")


def check_number(
    name: str, value: Any, above: float | None = None, least: float | None = None, below: float | None = None,
    most: float | None = None, unit: str = "",
) -> None:  # fmt: skip
    """Refuse what is not a finite number within these bounds.

    Raises
    ------
    OptionError
    """
    bounds = {"above": above, "at least": least, "below": below, "at most": most}
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)
    is_number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if (
        not is_number
        or (above is not None and not value > above)
        or (least is not None and not value >= least)
        or (below is not None and not value < below)
        or (most is not None and not value <= most)
    ):
        rule = f"{name} must be a number {words}{' ' + unit if unit else ''}"
        raise OptionError(name, repr(value), rule, f"Give {name} such a value, or leave it out.")
