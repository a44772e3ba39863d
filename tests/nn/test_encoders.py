import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import XRDGrid, simulate_xrd, structures_to_graphs
from deepchem_crystalssl.nn.crystal_encoder import CrystalEncoder
from deepchem_crystalssl.nn.graph_batch import GraphBatch
from deepchem_crystalssl.nn.xrd_encoder import LogScatteringVector, MeanPool, OneChannelConvolution, XRDEncoder
from deepchem_crystalssl.testing import permuted, recelled, rotated, supercell, translated

ENCODERS = {
    "published": {},
    "angles": {"angles": True, "readout": "mean_std"},
    "long range": {"long_range": True},
    "bond relative": {"bond_relative": True},
    "attributes": {"attributes": True, "readout": "means"},
}


@pytest.fixture(scope="module", params=ENCODERS.values(), ids=ENCODERS)
def encoder(request):
    torch.manual_seed(0)
    return CrystalEncoder(width=32, **request.param).eval()


def embed(encoder, crystals):
    with torch.no_grad():
        return encoder(GraphBatch.from_graphs(structures_to_graphs(crystals))).numpy()


def test_vector_does_not_depend_on_how_the_crystal_is_written(encoder, prototypes):
    rng = np.random.default_rng(0)
    for crystal in prototypes[::6]:
        ways = [
            crystal,
            rotated(crystal, rng),
            translated(crystal, rng),
            permuted(crystal, rng)[0],
            recelled(crystal, rng),
            supercell(crystal)[0],
        ]
        vectors = embed(encoder, ways)
        assert np.allclose(vectors, vectors[0], atol=1e-4), crystal


def test_primitive_and_conventional_cell_have_one_vector(encoder, prototypes):
    for crystal in prototypes[::12]:
        structure = crystal.to_structure()
        primitive = structure.get_primitive_structure(tolerance=1e-4)
        vectors = embed(encoder, [structure, primitive])
        assert np.allclose(vectors[0], vectors[1], atol=1e-3), crystal


def test_batch_equals_single(encoder, prototypes):
    batch = embed(encoder, prototypes[:20])
    for crystal, vector in zip(prototypes[:20], batch, strict=True):
        assert np.allclose(embed(encoder, crystal)[0], vector, atol=1e-5)


@pytest.mark.parametrize("unit_length", [True, False])
def test_training_and_use_agree(prototypes, unit_length):
    """The same batch, the same vectors, while training and after: BatchNorm would differ by its running statistics."""
    torch.manual_seed(0)
    encoder = CrystalEncoder(width=16, unit_length=unit_length)
    rng = np.random.default_rng(0)
    for _ in range(150):
        embed(encoder, [prototypes[k] for k in rng.integers(len(prototypes), size=32)])
    trained = embed(encoder, prototypes[:100])
    used = embed(encoder.eval(), prototypes[:100])
    assert np.abs(trained - used).max() < 0.05 * np.abs(used).max()


def test_different_crystals_have_different_vectors(encoder, prototypes):
    vectors = embed(encoder, prototypes)
    distance = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1) + 10 * np.eye(len(vectors))
    assert (distance.min(1) > 1e-5).mean() > 0.98  # a few prototypes differ in handedness only


def test_site_vectors_of_every_layer(encoder, graphs):
    batch = GraphBatch.from_graphs(graphs[:3])
    layers = encoder.encode_sites(batch)
    assert len(layers) == 4 and all(x.shape == (batch.total_sites, 32) for x in layers)
    same = batch.atomic_numbers == batch.atomic_numbers[0]
    assert torch.allclose(layers[0][same], layers[0][0].expand(int(same.sum()), -1))


@pytest.mark.parametrize("n_bins", [5000, 1003])
def test_the_first_convolution_is_torchs(n_bins):
    ours, theirs = OneChannelConvolution(1, 6, 50, 5, 10), torch.nn.Conv1d(1, 6, 50, 5, 10)
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(3, 1, n_bins)
    out, expected = ours(x), theirs(x)
    assert out.shape == expected.shape and torch.allclose(out, expected, atol=1e-6)
    weights = torch.rand_like(out)
    for layer, y in ((ours, out), (theirs, expected)):
        (y * weights).sum().backward()
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-3)
    assert torch.allclose(ours.bias.grad, theirs.bias.grad, rtol=1e-4)


@pytest.mark.parametrize("kernel, stride", [(4, 2), (3, 3), (1, 1)])
def test_the_mean_pool_is_torchs(kernel, stride):
    x = torch.rand(2, 3, 29, dtype=torch.float64)
    assert torch.allclose(MeanPool(kernel, stride)(x), torch.nn.AvgPool1d(kernel, stride)(x))


def test_xrd_encoder_batch_equals_single():
    torch.manual_seed(0)
    encoder = XRDEncoder(n_bins=1000, channels=8)
    patterns = torch.rand(4, 1000)
    encoder(patterns)
    encoder.eval()
    out = encoder(patterns)
    assert out.shape == (4, 128)
    assert torch.allclose(encoder(patterns[2:3])[0], out[2], atol=1e-5)
    lengths = XRDEncoder(1000, 8, unit_length=False, power=1.0).eval()(patterns).norm(dim=1)
    assert torch.allclose(out.norm(dim=1), torch.ones(4)) and not torch.allclose(lengths, torch.ones(4), atol=1e-3)


def test_strain_shifts_a_pattern_over_the_logarithm_of_q():
    """All peaks by the same number of bins, where over two-theta each moves by another."""
    crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    grid = XRDGrid(fwhm=0.3)
    strained = crystal.copy().apply_strain(0.01, inplace=False)
    patterns = torch.from_numpy(simulate_xrd([crystal, strained], grid))
    rebin = LogScatteringVector(grid.n_bins, grid.two_theta_min, grid.two_theta_max)
    over_q = rebin(patterns)
    assert torch.allclose(over_q.sum(1), patterns.sum(1), rtol=1e-4)
    step = np.log(np.sin(np.radians(55)) / np.sin(np.radians(5))) / grid.n_bins
    shift = round(np.log(1.01) / step)

    def similarity(a, b, moved):
        return torch.cosine_similarity(a, torch.roll(b, moved), dim=0)

    assert similarity(*over_q, shift) > 0.96 > 0.9 > max(similarity(*patterns, k) for k in range(0, 60))
    encoder = XRDEncoder(channels=8, axis="log_q").eval()
    assert encoder(patterns).shape == (2, 128)
    with pytest.raises(ValueError, match="axis"):
        XRDEncoder(axis="q")


def test_weights_of_an_earlier_version_load():
    """Mask tokens were called hidden_element and hidden_edge."""
    torch.manual_seed(0)
    ours, theirs = (CrystalEncoder(width=8, n_layers=2, attributes=True, readout="means") for _ in range(2))
    torch.nn.init.normal_(ours.mask_token)
    torch.nn.init.normal_(ours.convolutions[1].edge_mask_token)
    new_names = {"mask_token": "hidden_element", "edge_mask_token": "hidden_edge"}
    state = {".".join(new_names.get(p, p) for p in key.split(".")): v for key, v in ours.state_dict().items()}
    assert {"hidden_element", "convolutions.1.hidden_edge"} <= set(state)
    theirs.load_state_dict(state)
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), key
    with pytest.raises(RuntimeError, match="hidden_atom"):
        theirs.load_state_dict({"hidden_atom": torch.zeros(8), **state})
