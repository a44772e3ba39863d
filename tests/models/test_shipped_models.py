"""The models inside the package: complete, described, and of use on crystals they were not trained on."""

import json
from importlib.resources import files

import deepchem as dc
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

import deepchem_crystalssl as dcs
from deepchem_crystalssl.models.pretrained import DEFAULT
from deepchem_crystalssl.nn.crystal_encoder import LEARNED_SHARE
from deepchem_crystalssl.nn.normalization import BatchRenorm
from deepchem_crystalssl.physics import model_physics, standardized
from deepchem_crystalssl.pretext.objectives import Labels
from deepchem_crystalssl.pretext.presets import PRESETS
from deepchem_crystalssl.recipes import embed_table, xrd_retrieval
from deepchem_crystalssl.testing import permuted, recelled, rotated, supercell, translated

NAMES = ("general", "small", "general-labels")
WEIGHTS = files("deepchem_crystalssl.models") / "weights"


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return dcs.load_pretrained(request.param)


def test_all_are_listed_and_small_enough():
    table = dcs.list_pretrained().set_index("name")
    assert set(NAMES) <= set(table.index) and table["megabytes"].sum() < 40
    assert table.loc["small", "parameters"] <= table.loc["general", "parameters"] / 3
    assert (table["licence"] == "CC-BY-4.0").all() and table["description"].str.len().min() > 20


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_what_a_user_must_know(name):
    card = json.loads((WEIGHTS / name / "card.json").read_text())["card"]
    wanted = {"description", "licence", "attribution", "data", "units", "training", "metrics", "limits"}
    assert wanted <= set(card)


@pytest.mark.parametrize(
    "name, preset, describing",
    [
        ("general", "joint-measured", "denoising-physics"),
        ("small", "joint-measured-small", "denoising-physics-small"),
        ("general-labels", "joint-measured", "denoising-physics"),
    ],
)
def test_a_preset_trains_such_a_model(name, preset, describing):
    shipped = dcs.load_pretrained(name)
    graphs = {"cutoff": 8.0, "max_neighbors": 12}
    known = PRESETS[describing]
    objectives = [*known.objectives, Labels(["formation energy per atom", "band gap"])]
    objectives = objectives if name == "general-labels" else list(known.objectives)
    described = dcs.CrystalSSLModel(objectives, encoder=dict(known.encoder), **graphs)
    model = dcs.CrystalSSLModel(preset, descriptor_model=described, **graphs)
    assert as_json(shipped.config) == as_json(model.config)
    assert json.loads((WEIGHTS / name / "card.json").read_text())["config"] == as_json(shipped.config)


def test_only_one_was_shown_labels_and_it_says_so():
    table = dcs.list_pretrained().set_index("name")
    for name in NAMES:
        supervised = "SUPERVISED" in table.loc[name, "description"]
        data = json.loads((WEIGHTS / name / "card.json").read_text())["card"]["data"]
        assert supervised == bool(dcs.load_pretrained(name).label_columns) == ("No labels" not in data)
    assert "SUPERVISED" not in table.loc[DEFAULT, "description"]


def test_answers_are_near_the_numbers_of_the_models(model, prototypes):
    """Most of what springs and tight binding say of crystals is known without computing it."""
    exact = standardized(model_physics(prototypes[::3]))
    embedding = dcs.CrystalEmbedding(model)
    columns = [k for k, label in enumerate(embedding.feature_labels()) if "predicted" in label][: exact.shape[1]]
    answers = model.embed(prototypes[::3], space="descriptor", progress=False)[:, columns]
    right = [np.corrcoef(answers[:, k], exact[:, k])[0, 1] for k in range(exact.shape[1]) if exact[:, k].std() > 0.1]
    assert np.median(right) > 0.85


def as_json(config):
    return json.loads(json.dumps(config))


def test_no_crystal_is_anothers_supercell_or_picture(model, prototypes):
    rng = np.random.default_rng(1)
    for crystal in prototypes[3::12]:
        ways = [crystal, rotated(crystal, rng), translated(crystal, rng), permuted(crystal, rng)[0]]
        ways += [recelled(crystal, rng), supercell(crystal)[0]]
        for space in ("shared", "pattern", "descriptor", "similarity"):
            vectors = model.embed(ways, space=space, progress=False)
            assert np.abs(vectors - vectors[0]).max() < 0.02 * np.abs(vectors[0]).max(), (crystal, space)


def test_patterns_as_measured_find_their_crystals(model, graphs):
    table = xrd_retrieval(model, graphs).set_index(["pattern", "index"])["recall@1"]
    assert table["clean", "crystal"] > 0.9 and table["clean", "simulated pattern"] > 0.98
    assert table["R1", "crystal"] > 0.8 and table["R2", "simulated pattern"] > 0.85


def test_a_crystal_without_pattern_has_no_expected_one(model, graphs, prototypes):
    from pymatgen.core import Lattice, Structure

    einsteinium = Structure(Lattice.cubic(5.0), ["Es"], [[0] * 3])
    crystals = [prototypes[0], Structure(Lattice.cubic(3.0), ["H"], [[0, 0, np.nan]]), einsteinium, prototypes[5]]
    report = dcs.Report()
    vectors = model.embed(crystals, space="pattern", on_error="skip", report=report, progress=False)
    assert [error.index for error in report] == [1, 2]
    expected = model.embed([prototypes[0], prototypes[5]], space="pattern", progress=False)
    assert np.allclose(vectors, expected, atol=1e-6) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(dcs.CrystalInputError, match="Es"):
        model.embed([einsteinium], space="pattern", progress=False)
    assert model.embed([], space="pattern", progress=False).shape == (0, vectors.shape[1])


def test_blocks_of_a_descriptor_weigh_what_is_said(model, graphs):
    vectors = model.embed(graphs, space="descriptor", progress=False)
    known = model.descriptor_encoder.attributes.size
    learned = vectors[:, known : model.descriptor_encoder.pooled_size]
    a, b = (np.median(cdist(part, part, "cityblock")) for part in (vectors[:, :known], learned))
    assert b / a == pytest.approx(LEARNED_SHARE, rel=0.5)
    spread = vectors[:, :known].std(0)
    assert 0.3 < np.median(spread) < 3  # in standard deviations over the training crystals


def test_what_describes_undoes_noise_on_other_crystals(graphs):
    """Strained and masked crystals lie far from the running statistics of whole ones, and are judged all the same."""
    described = dcs.load_pretrained("small").descriptor_model
    X = np.empty(64, object)
    X[:] = graphs[:64]
    norms = [part for part in described.model.modules() if isinstance(part, BatchRenorm)]
    before = [(norm.mean.clone(), norm.training) for norm in norms]
    assert described.validate(dc.data.NumpyDataset(X))["loss"] < 5  # untrained: 1 + 1 + .3 * 9 + 4 * .6
    for norm, (mean, mode) in zip(norms, before, strict=True):
        assert torch.equal(norm.mean, mean) and norm.training == mode


def test_similar_crystals_are_near(model, prototypes):
    from pymatgen.core import Lattice, Structure

    def salt(a, *species):
        return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), species, [[0, 0, 0], [0.5, 0.5, 0.5]])

    def perovskite(a, *species):
        places = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]]
        return Structure.from_spacegroup("Pm-3m", Lattice.cubic(a), species, places)

    crystals = [salt(5.64, "Na", "Cl"), salt(6.29, "K", "Cl"), perovskite(3.905, "Sr", "Ti", "O")]
    crystals += [
        perovskite(4.0, "Ba", "Ti", "O"),
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0] * 3]),
    ]
    likeness = (lambda v: v @ v.T)(model.embed(crystals, space="similarity", progress=False))
    assert likeness[0, 1] > likeness[0, 2:].max() and likeness[2, 3] > np.delete(likeness[2], [2, 3]).max()


def test_sites_have_descriptors_too(model, prototypes):
    vectors = model.embed(prototypes[:4], level="site", space="descriptor", progress=False)
    assert vectors.shape == (sum(c.num_nodes for c in prototypes[:4]), model.descriptor_encoder.site_size)
    table, _ = embed_table(prototypes[:4], model, level="site", space="descriptor")
    assert np.array_equal(np.stack(table["embedding"]), vectors)


@pytest.mark.parametrize(
    "options",
    [
        {"space": "wrong"},
        {"space": "descriptor", "layers": [1]},
        {"space": "similarity", "level": "site"},
        {"space": "pattern", "level": "site"},
    ],
)
def test_spaces_that_are_not(model, prototypes, options):
    with pytest.raises(ValueError, match="space"):
        model.embed(prototypes[:2], **options)
