"""Old names work and warn; new names do not warn."""

import warnings
from dataclasses import dataclass

import pytest

from deepchem_crystalssl._names import renamed_arguments, renamed_names


@renamed_arguments(share="mask_rate")
def mask(mask_rate=0.1):
    return mask_rate


@renamed_arguments(views="modalities")
@dataclass(frozen=True)
class Loss:
    modalities: tuple = ("a", "b")


def test_an_old_keyword_is_taken_with_a_warning():
    with pytest.warns(FutureWarning, match=r"mask\(share=\) is now called mask_rate="):
        assert mask(share=0.3) == 0.3
    with pytest.warns(FutureWarning, match="modalities"):
        assert Loss(views=("c", "d")) == Loss(("c", "d"))
    with pytest.warns(FutureWarning, match="Loss.views"):
        assert Loss().views == ("a", "b")


def test_the_new_keyword_is_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mask(mask_rate=0.3) == mask(0.3) == 0.3 and Loss(modalities=("c", "d")).modalities == ("c", "d")
        assert vars(Loss()) == {"modalities": ("a", "b")}


def test_both_names_at_once_are_refused():
    with pytest.raises(TypeError, match="both 'share' and its new name 'mask_rate'"):
        mask(share=0.3, mask_rate=0.4)


def test_an_old_name_of_a_module():
    find = renamed_names("crystals", {"Old": Loss})
    with pytest.warns(FutureWarning, match="crystals.Old is now called Loss"):
        assert find("Old") is Loss
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        find("Other")
