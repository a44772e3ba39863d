"""The encoder of crystal graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..crystals.elements import element_features
from .bonds import counted_from_single_bonds
from .layers import CrystalConvolution, head_widths, mlp, take_renamed
from .graph_batch import GraphBatch
from .message_passing import mean_over_sites, sum_species
from .normalization import BatchRenorm
from .site_attributes import CELL_ATTRIBUTES, SITE_ATTRIBUTES, cell_attributes, site_attributes
from .structure_factor import StructureFactorReadout

Readout = Literal["mean", "means", "mean_std"]
LEARNED_SHARE = 0.3
"""Weight of the learned columns relative to the attributes in a descriptor."""
ANSWER_WEIGHT = 1.0
"""Weight of an answer of the encoder in a descriptor, in standard deviations; an attribute has about 1."""
SHARED_SHARE = 0.5
"""Length of the vector shared with patterns, relative to the readout, in a vector for similarity."""
_NOISE_LEVELS = 2  # displacement and strain
_ANSWER_WIDTH = 256
_HEADS = ("answer_heads.", "memory.")
_SLOW = 0.01  # momentum of the scale of a descriptor, which is an average over about a hundred batches


class CrystalEncoder(nn.Module):
    """An encoder of crystals: convolutions over neighbours, a readout over sites and a head (after Suzuki et al. 2022).

    Parameters
    ----------
    width : int
        Size of a site vector.
    n_layers : int
        Number of convolutions.
    hidden : int or sequence of int
        Width of the head's hidden layer, or layers.
    embedding_size : int
        Size of the crystal vector.
    readout : {"mean", "means", "mean_std"}
        Input of the head: the mean over sites of the last layer, as published; the means of all layers; or mean and
        standard deviation of all layers, and the logarithm of the volume per site.
    angles : bool
        Whether the convolutions use angles between neighbours besides distances.
    long_range : bool
        Whether a :class:`~deepchem_crystalssl.nn.structure_factor.StructureFactorReadout` is an input of the head too.
    bond_relative : bool
        Whether distances are relative to the length of a single bond between the two elements.
    attributes : bool
        Whether :func:`~deepchem_crystalssl.nn.site_attributes.site_attributes` are an input of the sites, and mean,
        standard deviation, minimum and maximum over the sites a part of the readout, with attributes of the whole cell.
        All columns of the readout are then standardised.
    unit_length : bool
        Whether crystal vectors are normalised to length 1; in the paper they are not.
    conditioned : bool
        Whether the encoder can be told of a crystal in advance (:meth:`recall`), for self-conditioned denoising.
    answers, site_answers : dict from str to int
        How many numbers of a crystal, and of a site, the encoder predicts from what it has learned, by subject, for
        example ``{"model physics": 89}``. An objective trains them; they are columns of the descriptor.

    Examples
    --------
    >>> from deepchem_crystalssl import structures_to_graphs
    >>> from pymatgen.core import Lattice, Structure
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [.5, .5, .5]])
    >>> CrystalEncoder()(GraphBatch.from_graphs(structures_to_graphs(salt))).shape
    torch.Size([1, 128])
    """

    element_features: Tensor

    def __init__(
        self,
        width: int = 64,
        n_layers: int = 3,
        hidden: int | Sequence[int] = 256,
        embedding_size: int = 128,
        readout: Readout = "mean",
        angles: bool = False,
        long_range: bool = False,
        bond_relative: bool = False,
        attributes: bool = False,
        unit_length: bool = True,
        conditioned: bool = False,
        answers: Mapping[str, int] | None = None,
        site_answers: Mapping[str, int] | None = None,
    ):
        super().__init__()
        self.width = width
        self.readout = readout
        self.bond_relative = bond_relative
        self.unit_length = unit_length
        self.embedding_size = embedding_size
        self.register_buffer("element_features", torch.tensor(element_features()), persistent=False)
        self.embed_elements = nn.Linear(self.element_features.shape[1], width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.convolutions = nn.ModuleList(CrystalConvolution(width, angles) for _ in range(n_layers))
        columns = {"mean": width, "means": width * (n_layers + 1), "mean_std": 2 * width * (n_layers + 1) + 1}
        self.pooled_size = columns[readout]
        self.attributes: AttributeReadout | None = None
        if attributes:
            self.attributes = AttributeReadout()
            self.scale_attributes = BatchRenorm(len(SITE_ATTRIBUTES))
            self.embed_attributes = nn.Linear(len(SITE_ATTRIBUTES), width, bias=False)
            self.pooled_size += self.attributes.size
            self.standardize = BatchRenorm(self.pooled_size, momentum=_SLOW, affine=False)
        self.long_range = StructureFactorReadout(width) if long_range else None
        n_shells = self.long_range.size if self.long_range is not None else 0
        self.head = mlp(head_widths(self.pooled_size + n_shells, hidden, embedding_size))
        n_learned = self.pooled_size - (self.attributes.size if self.attributes is not None else 0)
        self.memory = mlp([n_learned + _NOISE_LEVELS, width, width]) if conditioned else None
        self.answers, self.site_answers = dict(answers or {}), dict(site_answers or {})
        layers = width * (n_layers + 1)
        n_inputs = {False: self.pooled_size, True: layers + (len(SITE_ATTRIBUTES) if attributes else 0)}
        self.answer_heads = nn.ModuleDict(
            {
                _component(subject, of_sites): mlp([n_inputs[of_sites], _ANSWER_WIDTH, size])
                for of_sites, sizes in ((False, self.answers), (True, self.site_answers))
                for subject, size in sizes.items()
            }
        )

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Take the mask token under the name it had in earlier weights, too."""
        take_renamed(state_dict, prefix, "hidden_element", "mask_token")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def with_own_heads(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state in which heads that only this encoder has are its own, and those that it lacks are left out.

        These are the answers and the memory of clean crystals, so that an objective can be added to a trained encoder.
        """
        own = {name: part for name, part in self.state_dict().items() if name.startswith(_HEADS)}
        return {name: part for name, part in state.items() if name in own or not name.startswith(_HEADS)} | {
            name: part for name, part in own.items() if name not in state
        }

    def encode_sites(self, batch: GraphBatch, told: Tensor | None = None) -> list[Tensor]:
        """Site vectors after each layer, (A, width) each; the first depends on element and attributes alone.

        ``told`` is what the sites of each crystal know in advance, (B, width), as :meth:`recall` gives it.
        """
        sites = sum_species(batch, self.embed_elements(self.element_features))
        if batch.masked_sites is not None:
            sites = torch.where(batch.masked_sites[:, None], self.mask_token, sites)
        if self.attributes is not None:
            sites = sites + self.embed_attributes(self.scale_attributes(site_attributes(batch)))
        if told is not None:
            sites = sites + told[batch.crystal]
        if self.bond_relative:
            batch = counted_from_single_bonds(batch)
        layers = [sites]
        for convolution in self.convolutions:
            layers.append(convolution(batch, layers[-1]))
        return layers

    def pool(self, batch: GraphBatch, layers: list[Tensor]) -> Tensor:
        """The readout over sites, (B, pooled_size)."""
        if self.readout == "mean_std":
            assert batch.volume is not None
            per_site = (batch.volume / batch.num_sites).log()[:, None]
            learned = torch.cat([*(mean_and_std(batch, layer) for layer in layers), per_site], dim=1)
        else:
            shown = layers if self.readout == "means" else layers[-1:]
            learned = mean_over_sites(batch, torch.cat(shown, dim=1))
        if self.attributes is None:
            return learned
        return self.standardize(torch.cat([self.attributes(batch), learned], dim=1))

    def recall(self, pooled: Tensor, noise: Tensor) -> Tensor:
        """What the sites of a displaced crystal are told, (B, width): its clean readout, and how large the noise is.

        Only the learned columns of the readout are told, so that they have to hold what is worth telling.

        Parameters
        ----------
        pooled : Tensor
            (B, pooled_size), the readout of the clean crystal; zeros where nothing is told of it.
        noise : Tensor
            (B, 2), the levels of the displacement and of the strain.
        """
        if self.memory is None:
            raise ValueError("conditioned: False; denoising needs an encoder with conditioned=True")
        return self.memory(torch.cat([self._blocks(pooled)[1], noise], dim=1))

    def answer(self, pooled: Tensor, subject: str) -> Tensor:
        """Numbers of each crystal that the encoder predicts, (B, n), from the readout over sites."""
        return self.answer_heads[_component(subject, False)](pooled)

    def answer_sites(self, batch: GraphBatch, layers: list[Tensor], subject: str) -> Tensor:
        """Numbers of each site that the encoder predicts, (A, n), from the site vectors of all layers."""
        return self.answer_heads[_component(subject, True)](self._site_columns(batch, layers))

    def all_answers(self, pooled: Tensor) -> Tensor:
        """The answers on all subjects, (B, n_answers)."""
        return torch.cat([pooled[:, :0], *(self.answer(pooled, subject) for subject in self.answers)], dim=1)

    def all_site_answers(self, batch: GraphBatch, layers: list[Tensor]) -> Tensor:
        """The answers on all subjects of sites, (A, n)."""
        found = [self.answer_sites(batch, layers, subject) for subject in self.site_answers]
        return torch.cat([layers[0][:, :0], *found], dim=1)

    def _site_columns(self, batch: GraphBatch, layers: list[Tensor]) -> Tensor:
        """Attributes and the vectors of all layers, (A, F), in standard deviations where these are known."""
        if self.attributes is None:
            return torch.cat(layers, dim=1)
        return torch.cat([self.scale_attributes(site_attributes(batch)), *layers], dim=1)

    def add_long_range(self, batch: GraphBatch, layers: list[Tensor], pooled: Tensor) -> Tensor:
        """The input of the head: the readout over sites and, if there is one, the readout of long-range order."""
        return pooled if self.long_range is None else torch.cat([pooled, self.long_range(batch, layers[-1])], dim=1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Crystal vectors, (B, embedding_size)."""
        layers = self.encode_sites(batch)
        return self.project(self.add_long_range(batch, layers, self.pool(batch, layers)))

    @property
    def descriptor_size(self) -> int:
        """Columns of :meth:`describe`."""
        return self.pooled_size + sum(self.answers.values())

    @property
    def site_size(self) -> int:
        """Columns of :meth:`describe_sites`."""
        return self.n_site_attributes + self.width * (len(self.convolutions) + 1) + sum(self.site_answers.values())

    @property
    def n_site_attributes(self) -> int:
        """Attributes among the columns of :meth:`describe_sites`."""
        return len(SITE_ATTRIBUTES) if self.attributes is not None and self.readout == "means" else 0

    def describe(self, batch: GraphBatch) -> Tensor:
        """The descriptor of each crystal, (B, descriptor_size), with blocks weighted for Manhattan distances.

        It is the readout, followed by the encoder's answers. All learned columns together weigh ``LEARNED_SHARE`` times
        as much as all attributes; an answer weighs ``ANSWER_WEIGHT`` times as much as an attribute.
        """
        pooled = self.pool(batch, self.encode_sites(batch))
        answers = ANSWER_WEIGHT * self.all_answers(pooled)
        if self.attributes is None:
            return torch.cat([pooled, answers], dim=1)
        known, learned = self._blocks(pooled)
        return torch.cat([known, learned * (LEARNED_SHARE * known.shape[1] / learned.shape[1]), answers], dim=1)

    def describe_sites(self, batch: GraphBatch) -> Tensor:
        """The descriptor of each site, weighted as in :meth:`describe`: attributes, vectors of all layers, answers."""
        layers = self.encode_sites(batch)
        known, learned = self._standardized_sites(batch, layers)
        if known.shape[1]:
            learned = learned * (LEARNED_SHARE * known.shape[1] / learned.shape[1])
        return torch.cat([known, learned, ANSWER_WEIGHT * self.all_site_answers(batch, layers)], dim=1)

    def standardized_sites(self, batch: GraphBatch, layers: Sequence[int] | None = None) -> Tensor:
        """What a network is told of each site, (A, F), in standard deviations.

        These are the attributes and the vectors after each layer, or the vectors after chosen layers alone; then the
        encoder's answers for the site and for its crystal. Attributes are divided by their standard deviation over
        sites, learned columns by theirs over crystals, if the encoder has attributes.
        """
        found = self.encode_sites(batch)
        answers = [self.all_site_answers(batch, found)]  # first: in training it moves the statistics used below
        if self.answers:
            answers.append(self.all_answers(self.pool(batch, found))[batch.crystal])
        known, learned = self._standardized_sites(batch, found)
        if layers is not None:
            blocks = learned.split(self.width, dim=1)
            known, learned = known[:, :0], torch.cat([blocks[k] for k in layers], dim=1)
        return torch.cat([known, learned, *answers], dim=1)

    def _standardized_sites(self, batch: GraphBatch, layers: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Attributes, (A, 0) if there are none, and the vectors of all layers."""
        learned = torch.cat(layers, dim=1)
        if not self.n_site_attributes:
            return learned[:, :0], learned
        learned = _standardized(learned, self.standardize, learned.shape[1])
        return _standardized(site_attributes(batch), self.scale_attributes), learned

    def n_inputs_of_network(self, layers: Sequence[int] | None = None) -> int:
        """Columns of :meth:`standardized_sites`."""
        n_answers = sum(self.answers.values()) + sum(self.site_answers.values())
        if layers is not None:
            return self.width * len(layers) + n_answers
        return self.site_size + sum(self.answers.values())

    def liken(self, batch: GraphBatch, shared_encoder: CrystalEncoder | None = None) -> Tensor:
        """Unit vectors whose cosine measures the similarity of crystals, (B, pooled_size + embedding_size).

        They join the readout, in which attributes and learned columns have equal weight, and, with ``SHARED_SHARE`` of
        its length, the vector in the space shared with patterns, which depends on long-range order; another encoder
        may give the latter.
        """
        layers = self.encode_sites(batch)
        pooled = self.pool(batch, layers)
        if shared_encoder is None or shared_encoder is self:
            shared = self.project(self.add_long_range(batch, layers, pooled))
        else:
            shared = shared_encoder(batch)
        blocks = torch.cat([block / max(1, block.shape[1]) ** 0.5 for block in self._blocks(pooled)], dim=1)
        return F.normalize(
            torch.cat([F.normalize(blocks, dim=1), SHARED_SHARE * F.normalize(shared, dim=1)], dim=1), dim=1
        )

    def _blocks(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """The attributes and the learned columns of a readout."""
        n_known = 0 if self.attributes is None else self.attributes.size
        known, learned = pooled.split([n_known, self.pooled_size - n_known], dim=1)
        return known, learned

    def project(self, seen: Tensor) -> Tensor:
        """From the input of the head into the space shared with patterns, (B, embedding_size)."""
        vectors = self.head(seen).float()
        return F.normalize(vectors, dim=1) if self.unit_length else vectors


def _component(subject: str, of_sites: bool) -> str:
    """Name of the module that answers on a subject."""
    return f"{'sites' if of_sites else 'crystal'} {subject}".replace(" ", "_").replace(".", "_")


def _standardized(values: Tensor, norm: BatchRenorm, n_last: int = 0) -> Tensor:
    """Values normalised by the running statistics of a norm (or of its last columns), without its weights."""
    return F.batch_norm(values, norm.mean[-n_last:], norm.variance[-n_last:], eps=norm.eps)


class AttributeReadout(nn.Module):
    """The part of the readout that needs no training, (B, size).

    It holds mean, standard deviation, minimum and maximum of all
    :func:`~deepchem_crystalssl.nn.site_attributes.site_attributes` over the sites, and the
    :func:`~deepchem_crystalssl.nn.site_attributes.cell_attributes`.
    """

    size = 4 * len(SITE_ATTRIBUTES) + len(CELL_ATTRIBUTES)

    def forward(self, batch: GraphBatch) -> Tensor:
        """(B, size)."""
        sites = site_attributes(batch)
        lengths = batch.num_sites
        ends = [torch.segment_reduce(sites, how, lengths=lengths, unsafe=True) for how in ("min", "max")]
        return torch.cat([mean_and_std(batch, sites), *ends, cell_attributes(batch, sites)], dim=1)


def mean_and_std(batch: GraphBatch, values: Tensor) -> Tensor:
    """Mean and standard deviation over the sites of each crystal, (A, F) to (B, 2F)."""
    mean = mean_over_sites(batch, values)
    variance = mean_over_sites(batch, (values - mean[batch.crystal]) ** 2)
    return torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)
