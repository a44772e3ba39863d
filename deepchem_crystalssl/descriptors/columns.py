"""Names of the columns of the descriptors."""

from __future__ import annotations

from collections.abc import Sequence

from ..models.embedding import Space
from ..models.model_physics import answer_names
from ..models.pretraining import CrystalSSLModel
from ..nn.crystal_encoder import CrystalEncoder
from ..nn.site_attributes import CELL_ATTRIBUTES, SITE_ATTRIBUTES

STATISTICS = ("mean", "std", "minimum", "maximum")
"""Statistics of the site attributes over the sites of a crystal, in the order of the columns."""


def chosen_layers(encoder: CrystalEncoder, layers: Sequence[int] | None) -> list[int] | None:
    """Return layers counted from 0, the element, so that each has one name.

    Raises
    ------
    ValueError
        If ``layers`` is not a sequence, is empty, or holds a layer that does not exist or is given twice.
    """
    if layers is None:
        return None
    n = len(encoder.convolutions) + 1
    rule = f"give a sequence of one or more different layers from 0, the element, to {n - 1}"
    if isinstance(layers, int | str):
        raise ValueError(f"layers={layers!r}: {rule}")
    counted = [k + n if -n <= k < 0 else k for k in layers]
    if not counted or not set(counted) <= set(range(n)) or len(set(counted)) < len(counted):
        raise ValueError(f"layers={list(layers)}: {rule}")
    return counted


def crystal_labels(model: CrystalSSLModel, name: str, layers: Sequence[int] | None, space: Space) -> list[str]:
    """Return one name per column of the vectors of crystals.

    Parameters
    ----------
    model : CrystalSSLModel
    name : str
        Name of the model, with which every label begins.
    layers : sequence of int, optional
        Layers whose mean and standard deviation over the sites are joined, as in
        :meth:`CrystalSSLModel.embed <deepchem_crystalssl.CrystalSSLModel.embed>`.
    space : {"descriptor", "shared", "pattern", "similarity"}

    Returns
    -------
    list of str
    """
    encoder, n_shared = model.descriptor_encoder, model.crystal_encoder.embedding_size
    if layers is not None:
        return _numbered(
            name, [f"layer {k} {statistic}" for k in layers for statistic in STATISTICS[:2]], encoder.width
        )
    if space in ("shared", "pattern"):
        return _numbered(name, [space], n_shared)
    readout = _readout_labels(encoder, name)
    if space == "descriptor":
        return readout + [
            f"{name} predicted {answer}" for answer in answer_names(encoder, "crystal", model.label_columns)
        ]
    return readout + _numbered(name, ["shared"], n_shared)


def site_labels(model: CrystalSSLModel, name: str, layers: Sequence[int] | None) -> list[str]:
    """Return one name per column of the vectors of sites.

    Without ``layers`` these are the site attributes, if the encoder shows them, and all layers; see
    :meth:`CrystalEncoder.describe_sites <deepchem_crystalssl.nn.crystal_encoder.CrystalEncoder.describe_sites>`.
    """
    encoder = model.descriptor_encoder
    if layers is not None:
        return _numbered(name, [f"layer {k}" for k in layers], encoder.width)
    n_layers = len(encoder.convolutions) + 1
    attributes = [f"{name} {attribute}" for attribute in SITE_ATTRIBUTES[: encoder.n_site_attributes]]
    answers = [f"{name} predicted {answer}" for answer in answer_names(encoder, "site")]
    return attributes + _numbered(name, [f"layer {k}" for k in range(n_layers)], encoder.width) + answers


def pattern_labels(model: CrystalSSLModel, name: str) -> list[str]:
    """Return one name per column of the vectors of powder patterns."""
    return _numbered(name, ["pattern"], model.crystal_encoder.embedding_size)


def _numbered(name: str, blocks: Sequence[str], width: int) -> list[str]:
    return [f"{name} {block} #{k}" for block in blocks for k in range(width)]


def _readout_labels(encoder: CrystalEncoder, name: str) -> list[str]:
    labels = []
    if encoder.attributes is not None:
        labels = [f"{name} {statistic} {attribute}" for statistic in STATISTICS for attribute in SITE_ATTRIBUTES]
        labels += [f"{name} {attribute}" for attribute in CELL_ATTRIBUTES]
    n_learned = encoder.pooled_size - len(labels)
    if encoder.readout == "means":
        return labels + _numbered(name, [f"layer {k} mean" for k in range(n_learned // encoder.width)], encoder.width)
    return labels + _numbered(name, ["readout"], n_learned)
