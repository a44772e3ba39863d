"""Registration of the featurizers, the splitter and the models in DeepChem."""

from __future__ import annotations

import os

from wrapt import register_post_import_hook

OPT_OUT = "DEEPCHEM_CRYSTALSSL_NO_REGISTER"
"""Name of the environment variable that, set to any value, leaves DeepChem untouched."""


def register() -> None:
    """Make the featurizers, the splitter and the models visible in DeepChem.

    Sets the attributes ``dc.feat.CrystalGraphFeaturizer``, ``dc.feat.XRDFeaturizer``,
    ``dc.feat.ModelPhysicsFeaturizer``, ``dc.splits.CrystalSplitter``, ``dc.models.CrystalSSLModel`` and
    ``dc.models.NEGNNModel``, and adds the featurizers and the splitter to the
    names that MoleculeNet knows, so that ``dc.molnet.load_perovskite(featurizer="CrystalGraphFeaturizer")`` works. An
    attribute or name that exists already is not replaced, so a second call changes nothing.

    The package calls this function as soon as both it and DeepChem are imported, in any order, unless the environment
    variable ``DEEPCHEM_CRYSTALSSL_NO_REGISTER`` is set.

    Examples
    --------
    >>> import deepchem as dc
    >>> register()
    >>> dc.feat.CrystalGraphFeaturizer()
    CrystalGraphFeaturizer[cutoff=8.0, max_neighbors=12, disorder='refuse', isolated_atoms='keep', on_error='warn']
    """
    import deepchem as dc

    from .data import CrystalGraphFeaturizer, CrystalSplitter, ModelPhysicsFeaturizer, XRDFeaturizer
    from .models import CrystalSSLModel, NEGNNModel

    for featurizer in (CrystalGraphFeaturizer, XRDFeaturizer, ModelPhysicsFeaturizer):
        if not hasattr(dc.feat, featurizer.__name__):
            setattr(dc.feat, featurizer.__name__, featurizer)
        dc.molnet.featurizers.setdefault(featurizer.__name__.lower(), featurizer())
    if not hasattr(dc.splits, CrystalSplitter.__name__):
        setattr(dc.splits, CrystalSplitter.__name__, CrystalSplitter)
    dc.molnet.splitters.setdefault(CrystalSplitter.__name__.lower(), CrystalSplitter())
    for model in (CrystalSSLModel, NEGNNModel):
        if not hasattr(dc.models, model.__name__):
            setattr(dc.models, model.__name__, model)


def register_with_deepchem() -> None:
    """Register at once if DeepChem is loaded, or else when it is imported; DeepChem is not imported here."""
    if not os.environ.get(OPT_OUT):
        register_post_import_hook(lambda deepchem: register(), "deepchem")
