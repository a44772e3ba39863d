"""What the package makes visible in DeepChem, and when."""

from __future__ import annotations

import os

from wrapt import register_post_import_hook

OPT_OUT = "DEEPCHEM_CRYSTALSSL_NO_REGISTER"
"""Set this environment variable to anything to leave DeepChem untouched."""


def register() -> None:
    """Make the featurizers, the splitter and the models visible in DeepChem.

    Sets ``dc.feat.CrystalGraphFeaturizer``, ``dc.feat.XRDFeaturizer``, ``dc.splits.CrystalSplitter``,
    ``dc.models.CrystalSSLModel`` and ``dc.models.NEGNNModel``, and adds featurizers and splitter to MoleculeNet's
    names, so that ``dc.molnet.load_perovskite(featurizer="CrystalGraphFeaturizer")`` works. Nothing that is already
    there is replaced; calling it again changes nothing.

    The package calls it by itself as soon as both it and DeepChem are imported, in whatever order, unless the
    environment variable ``DEEPCHEM_CRYSTALSSL_NO_REGISTER`` is set.

    Examples
    --------
    >>> import deepchem as dc
    >>> register()
    >>> dc.feat.CrystalGraphFeaturizer()
    CrystalGraphFeaturizer[cutoff=8.0, max_neighbors=12, disorder='refuse', isolated_atoms='keep', on_error='warn']
    """
    import deepchem as dc

    from .data import CrystalGraphFeaturizer, CrystalSplitter, XRDFeaturizer
    from .models import CrystalSSLModel, NEGNNModel

    for featurizer in (CrystalGraphFeaturizer, XRDFeaturizer):
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
    """Register now if DeepChem is loaded, or else when it is imported; never import it."""
    if not os.environ.get(OPT_OUT):
        register_post_import_hook(lambda deepchem: register(), "deepchem")
