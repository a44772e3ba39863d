import inspect

import pytest

from deepchem_crystalssl import structures_to_graphs
from deepchem_crystalssl.crystals.neighbors import enumerate_graphs
from deepchem_crystalssl.crystals.options import with_arguments_of


def lazy(source, scale=1.0, *, offset=0.0):
    return (scale * value + offset for value in source)


@with_arguments_of(lazy)
def eager(**arguments) -> list:
    """Make a list."""
    return list(lazy(**arguments))


def test_the_call_is_the_same():
    assert eager([1, 2], 2.0, offset=1.0) == list(lazy([1, 2], 2.0, offset=1.0)) == [3.0, 5.0]
    assert eager([1, 2]) == [1.0, 2.0]


def test_help_shows_the_options():
    assert str(inspect.signature(eager)) == "(source, scale=1.0, *, offset=0.0) -> 'list'".replace("'", "")
    assert eager.__doc__ == "Make a list." and eager.__name__ == "eager"
    ours, theirs = inspect.signature(structures_to_graphs), inspect.signature(enumerate_graphs)
    assert ours.parameters == theirs.parameters and "list" in str(ours.return_annotation)


@pytest.mark.parametrize("call", [lambda: eager(), lambda: eager([1], ofset=1), lambda: eager([1], 1, 2)])
def test_other_arguments_are_refused(call):
    with pytest.raises(TypeError, match=r"eager\(\)"):
        call()
