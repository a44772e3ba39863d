"""The matminer descriptors, alone and in the pipelines of matminer and scikit-learn."""

import pickle
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pandas as pd
import pytest
from deepchem.data import NumpyDataset
from matminer.featurizers.base import MultipleFeaturizer
from matminer.featurizers.structure import DensityFeatures, SiteStatsFingerprint
from pymatgen.core import Lattice, Structure
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import deepchem_crystalssl as dcs
from deepchem_crystalssl import CrystalEmbedding, SiteEmbedding, XRDEmbedding

LABELLED = {
    "descriptor": CrystalEmbedding("small"),
    "layers": CrystalEmbedding("small", layers=[0, 2]),
    "shared": CrystalEmbedding("small", space="shared"),
    "pattern": CrystalEmbedding("small", space="pattern"),
    "similarity": CrystalEmbedding("small", space="similarity"),
    "general": CrystalEmbedding(),
    "xrd": XRDEmbedding("small"),
}


def salt(a, *species):
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), species, [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.fixture(scope="module")
def structures():
    pairs = {"NaCl": 5.64, "KCl": 6.29, "MgO": 4.21, "CaO": 4.81, "LiF": 4.03, "NiO": 4.18, "MnO": 4.44, "KBr": 6.6}
    species = [("Na", "Cl"), ("K", "Cl"), ("Mg", "O"), ("Ca", "O"), ("Li", "F"), ("Ni", "O"), ("Mn", "O"), ("K", "Br")]
    return [salt(a, *pair) for a, pair in zip(pairs.values(), species, strict=True)]


@pytest.fixture(scope="module")
def broken():
    return Structure(Lattice.cubic(4.0), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])  # disordered


@pytest.mark.parametrize("name", LABELLED)
def test_one_label_per_column_and_none_twice(name, structures):
    embedding = LABELLED[name]
    labels = embedding.feature_labels()
    row = embedding.featurize(structures[0])
    assert isinstance(row, list) and isinstance(labels, list)
    assert len(row) == len(labels) == len(set(labels))
    assert all(label.startswith(embedding.model_name) for label in labels)
    labels.append("mine")  # a fresh list every time: matminer appends to it
    assert "mine" not in embedding.feature_labels()


@pytest.mark.parametrize("name", LABELLED)
def test_one_by_one_as_all_at_once(name, structures):
    embedding = LABELLED[name]
    many = np.array(embedding.featurize_many(structures, pbar=False))
    assert np.allclose(many, [embedding.featurize(s) for s in structures], rtol=1e-3, atol=1e-4)


def test_labels_name_what_is_in_the_column(structures):
    table = CrystalEmbedding("small").featurize_dataframe(pd.DataFrame({"structure": structures}), "structure")
    size = np.log([s.volume / len(s) for s in structures])
    assert np.corrcoef(table["small log volume per site"], size)[0, 1] > 0.9999
    chi = [np.mean([site.specie.X for site in s]) for s in structures]
    assert np.corrcoef(table["small mean electronegativity"], chi)[0, 1] > 0.9999


def test_vectors_are_those_of_the_model(structures):
    model = dcs.load_pretrained("small")
    for space in ("descriptor", "shared", "pattern", "similarity"):
        expected = model.embed(structures, space=space, progress=False)
        assert np.allclose(CrystalEmbedding(model, space=space).transform(structures), expected, atol=1e-5)
    expected = model.embed(structures, layers=[1, 3], progress=False)
    assert np.allclose(CrystalEmbedding(model, layers=[1, 3]).transform(structures), expected, atol=1e-5)


def test_dataframe_keeps_errors_in_rows(structures, broken):
    frame = pd.DataFrame({"structure": [structures[0], broken, structures[1]]}, index=[7, 8, 9])
    embedding = CrystalEmbedding("small")
    with pytest.raises(dcs.CrystalInputError, match="entry 1"):
        embedding.featurize_dataframe(frame, "structure", pbar=False)
    table = embedding.featurize_dataframe(frame, "structure", ignore_errors=True, return_errors=True)
    labels = embedding.feature_labels()
    assert list(table.index) == [7, 8, 9] and table[labels].isna().all(axis=1).tolist() == [False, True, False]
    said = table["CrystalEmbedding Exceptions"]
    assert "entry 1" in said[8] and said[[7, 9]].isna().all()
    with pytest.raises(ValueError, match="ignore_errors"):
        embedding.featurize_many(frame["structure"], return_errors=True)


def test_beside_other_featurizers(structures):
    for each in (True, False):
        both = MultipleFeaturizer([DensityFeatures(), CrystalEmbedding("small")], iterate_over_entries=each)
        both.set_n_jobs(1)
        table = both.featurize_dataframe(pd.DataFrame({"structure": structures}), "structure", pbar=False)
        assert {"density", "small layer 3 mean #0"} <= set(table) and table.notna().all(axis=None)


def test_errors_keep_their_words_when_matminer_raises_them_again(structures, broken):
    both = MultipleFeaturizer([CrystalEmbedding("small"), DensityFeatures()])
    both.set_n_jobs(1)
    with pytest.raises(dcs.CrystalInputError, match="(?s)disorder.*TO SKIP THESE ERRORS"):
        both.featurize_many([structures[0], broken], pbar=False)


def test_site_featurizers(structures):
    embedding = SiteEmbedding("small", layers=[0, 1])
    sites = dcs.load_pretrained("small").embed(structures[:2], "site", [0, 1], progress=False)
    pairs = [(s, k) for s in structures[:2] for k in range(len(s))]
    assert np.allclose([embedding.featurize(s, k) for s, k in pairs], sites, atol=1e-5)
    assert np.allclose(embedding.featurize_many(pairs, pbar=False), sites, atol=1e-5)
    assert np.allclose(embedding.transform(pairs), sites, atol=1e-5)
    whole = SiteEmbedding("small")
    assert len(whole.featurize(structures[0], 0)) == len(whole.feature_labels())
    fingerprint = SiteStatsFingerprint(embedding, stats=("mean", "maximum"))
    row = fingerprint.featurize(structures[0])
    assert np.allclose(row[::2], sites[: len(structures[0])].mean(0), atol=1e-5)
    assert len(row) == len(fingerprint.feature_labels())


def test_a_structure_changed_in_place_is_embedded_again(structures):
    embedding, structure = SiteEmbedding("small"), structures[0].copy()
    before = embedding.featurize(structure, 0)
    structure.translate_sites([0], [0.01, 0.02, 0.03])
    assert not np.allclose(before, embedding.featurize(structure, 0), atol=1e-3)


def test_bad_sites_cost_themselves_alone(structures, broken):
    embedding = SiteEmbedding("small", layers=[1])
    pairs = [(structures[0], 0), (broken, 0), (structures[0], 99), (structures[1], 1)]
    rows = embedding.featurize_many(pairs, ignore_errors=True, return_errors=True, pbar=False)
    assert [isinstance(row[-1], str) for row in rows] == [False, True, True, False]
    assert "99" in rows[2][-1] and np.isfinite(rows[3][:-1]).all() and np.isnan(rows[1][:-1]).all()
    with pytest.raises(dcs.CrystalInputError):
        embedding.featurize_many(pairs, pbar=False)


def test_measured_patterns_and_structures_meet(structures):
    embedding = XRDEmbedding("small")
    patterns = [dcs.simulate_xrd(s) for s in structures]
    mixed = embedding.featurize_many([*structures, *patterns], pbar=False)
    expected, seen = np.split(np.array(mixed), 2)
    assert ((expected @ seen.T).argmax(1) == np.arange(len(structures))).all()
    einsteinium = Structure(Lattice.cubic(5.0), ["Es"], [[0] * 3])
    rows = embedding.featurize_many([patterns[0], einsteinium, structures[1]], ignore_errors=True, return_errors=True)
    assert [isinstance(row[-1], str) for row in rows] == [False, True, False]


# scikit-learn


@pytest.mark.parametrize("kind", ["list", "array", "series", "frame", "tuples"])
def test_whatever_holds_the_structures(kind, structures):
    column = np.empty(len(structures), object)
    column[:] = structures
    series = pd.Series(structures)
    held = {"list": structures, "array": column, "series": series, "frame": series.to_frame()}
    held["tuples"] = [(s,) for s in structures]
    vectors = CrystalEmbedding("small").fit(held[kind]).transform(held[kind])
    assert isinstance(vectors, np.ndarray) and vectors.shape == (8, 454) and vectors.dtype == np.float32


def test_empty_and_unknown_containers():
    assert CrystalEmbedding("small").featurize_many([]) == []
    assert CrystalEmbedding("small").transform([]).shape == (0, 454)
    assert np.isnan(SiteEmbedding("small").transform([(3, 0)])).all()
    with pytest.raises(dcs.CrystalInputError, match="entries"):
        CrystalEmbedding("small").transform(3)


def test_pipelines_searches_and_frames(structures):
    frame = pd.DataFrame({"structure": structures, "pressure": np.arange(8.0)})
    y = np.array([s.density for s in structures])
    columns = ColumnTransformer([("x", CrystalEmbedding("small"), "structure"), ("p", "passthrough", ["pressure"])])
    pipeline = make_pipeline(columns, Ridge())
    assert pipeline.fit(frame, y).predict(frame).shape == (8,)
    search = GridSearchCV(
        make_pipeline(CrystalEmbedding("small"), KernelRidge(kernel="laplacian", gamma=0.003)),
        {"crystalembedding__space": ["descriptor", "shared"], "kernelridge__alpha": [0.01, 0.1]},
        cv=2,
        error_score="raise",
    )
    assert search.fit(structures, y).best_score_ <= 1
    table = CrystalEmbedding("small").set_output(transform="pandas").fit_transform(frame["structure"])
    assert list(table) == CrystalEmbedding("small").feature_labels() and list(table.index) == list(frame.index)


def test_rows_of_bad_structures_are_nan(structures, broken):
    vectors = CrystalEmbedding("small").transform([structures[0], broken])
    assert np.isfinite(vectors[0]).all() and np.isnan(vectors[1]).all()


@pytest.mark.parametrize("make", [CrystalEmbedding, SiteEmbedding, XRDEmbedding])
def test_clones_and_pickles_keep_every_argument(make, structures):
    embedding = make("small", n_jobs=2)
    if make is SiteEmbedding:
        embedding.featurize(structures[0], 0)
    for copy in (clone(embedding), pickle.loads(pickle.dumps(embedding))):
        assert copy.get_params() == embedding.get_params() and copy.n_jobs == 2
    assert len(pickle.dumps(embedding)) < 1000
    assert embedding.set_params(n_jobs=1).n_jobs == 1
    embedding.set_n_jobs(3)
    assert embedding.get_params()["n_jobs"] == 3 and "n_jobs=3" in repr(embedding)


def test_a_model_in_place_of_its_name_can_be_cloned(structures):
    embedding = CrystalEmbedding(dcs.load_pretrained("small"))
    copy = clone(embedding)
    assert copy.pretrained is embedding.pretrained
    assert np.allclose(copy.transform(structures), embedding.transform(structures))


@pytest.mark.parametrize("make", [CrystalEmbedding, SiteEmbedding, XRDEmbedding])
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_of_scikit_learn_that_need_no_numbers(make, check):
    check(make.__name__, make())


def test_construction_reads_nothing(monkeypatch):
    opened = []
    monkeypatch.setattr("deepchem_crystalssl.descriptors.embeddings.load_encoder", opened.append)
    for make in (CrystalEmbedding, SiteEmbedding, XRDEmbedding):
        make("no such model")
    assert not opened
    assert SiteEmbedding("no such model").model is None and opened == ["no such model"]


def test_tags_say_that_structures_are_no_numbers():
    tags = CrystalEmbedding().__sklearn_tags__()
    assert not tags.input_tags.two_d_array and not tags.requires_fit


def test_what_cannot_be_embedded_is_known_beforehand(structures, broken):
    frame = pd.DataFrame({"structure": [structures[0], broken]})
    assert CrystalEmbedding("small").precheck_dataframe(frame, "structure") == 0.5


def test_citations_are_bibtex():
    embedding = XRDEmbedding()
    assert all(text.startswith("@article{") and text.count("{") == text.count("}") for text in embedding.citations())
    assert all(isinstance(name, str) for name in embedding.implementors())


@pytest.mark.once
def test_forked_workers_do_not_hang(tmp_path):
    """matminer's pool forks: a child must not wait for the threads torch has used in the parent."""
    code = """
        import torch
        from matminer.featurizers.base import MultipleFeaturizer
        from matminer.featurizers.structure import DensityFeatures
        from deepchem_crystalssl import CrystalEmbedding
        from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
        torch.set_num_threads(4)
        (torch.rand(2000, 2000) @ torch.rand(2000, 2000)).sum()
        structures = [crystal.to_structure() for crystal in bundled_prototypes()[:12]]
        CrystalEmbedding("small", n_jobs=2).featurize_many(structures)
        both = MultipleFeaturizer([DensityFeatures(), CrystalEmbedding("small", n_jobs=2)])
        both.set_n_jobs(2)
        print(len(both.featurize_many(structures, pbar=False)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=200, cwd=tmp_path
    )
    assert done.stdout.strip().endswith("12"), done.stderr


# Disorder and isolated atoms


@pytest.fixture(scope="module")
def mixed():
    """A site shared by two elements, a site that is 30 % occupied, and an ordered one."""
    return Structure(
        Lattice.cubic(4.0),
        [{"Fe": 0.6, "Ni": 0.4}, {"Li": 0.3}, "O"],
        [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.5]],
    )


@pytest.mark.parametrize("make", [CrystalEmbedding, SiteEmbedding, XRDEmbedding])
def test_the_advice_of_a_disorder_error_can_be_followed(make, mixed):
    arguments = (mixed, 0) if make is SiteEmbedding else (mixed,)
    with pytest.raises(dcs.errors.DisorderError, match="disorder='average'"):
        make("small").featurize(*arguments)
    vectors = {}
    for policy in ("average", "dominant"):
        embedding = clone(make("small", disorder=policy))
        assert embedding.disorder == policy
        vectors[policy] = embedding.featurize(*arguments)
        assert np.isfinite(vectors[policy]).all()
        assert np.allclose(embedding.transform([arguments])[0], vectors[policy], rtol=1e-3, atol=1e-4)
    assert not np.allclose(vectors["average"], vectors["dominant"], atol=1e-3)


def test_vectors_of_mixed_crystals_are_those_of_the_model(mixed, structures):
    model = dcs.load_pretrained("small")
    expected = model.embed([mixed, structures[0]], space="descriptor", disorder="average", progress=False)
    assert np.allclose(CrystalEmbedding("small", disorder="average").transform([mixed, structures[0]]), expected)


def test_sites_keep_the_numbers_they_have_in_the_structure(mixed):
    """'dominant' leaves the site of lithium out; the oxygen after it is still site 2."""
    every = SiteEmbedding("small", layers=[0], disorder="average").featurize_many([(mixed, k) for k in range(3)])
    embedding = SiteEmbedding("small", layers=[0], disorder="dominant")
    oxygen = Structure(Lattice.cubic(4.0), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert np.allclose(embedding.featurize(mixed, 2), embedding.featurize(oxygen, 1), atol=1e-5)
    assert np.isfinite(every).all()
    with pytest.raises(dcs.CrystalInputError, match="less than half"):
        embedding.featurize(mixed, 1)
    rows = embedding.featurize_many([(mixed, k) for k in range(3)], ignore_errors=True, return_errors=True)
    assert [isinstance(row[-1], str) for row in rows] == [False, True, False]


@pytest.mark.parametrize("make", [CrystalEmbedding, SiteEmbedding, XRDEmbedding])
def test_an_isolated_atom_costs_nothing_by_default(make):
    alone = Structure(Lattice.cubic(9.0), ["Xe"], [[0, 0, 0]])
    arguments = (alone, 0) if make is SiteEmbedding else (alone,)
    assert np.isfinite(make("small").featurize(*arguments)).all()
    if make is not XRDEmbedding:  # a powder pattern knows no neighbours
        with pytest.raises(dcs.errors.IsolatedAtomError):
            make("small", isolated_atoms="raise").featurize(*arguments)


def test_changed_parameters_are_used_for_the_same_structure(structures):
    embedding = SiteEmbedding("small", layers=[0])
    first = embedding.featurize(structures[0], 0)
    assert not np.allclose(first, embedding.set_params(layers=[1]).featurize(structures[0], 0))


def test_a_bad_pattern_costs_itself_alone(structures):
    embedding = XRDEmbedding("small")
    good = dcs.simulate_xrd(structures[0])[0]
    bad = [np.full(5000, value, np.float32) for value in (np.nan, -1.0, 0.0)]
    rows = embedding.featurize_many([good, good[:100], *bad, structures[0]], ignore_errors=True)
    assert np.isfinite(rows).all(axis=1).tolist() == [True, False, False, False, False, True]
    with pytest.raises(dcs.CrystalInputError, match="entry 1"):
        embedding.featurize_many([good, good[:100]])


def test_patterns_must_lie_on_the_grid_of_the_model(structures):
    embedding = XRDEmbedding("small")
    other = dcs.simulate_xrd(structures[0], dcs.XRDGrid(two_theta_max=90.0))[0]  # 5000 bins, but of another range
    with pytest.raises(dcs.errors.GridError, match="entry 1: the range is 10-90"):
        embedding.featurize_many([structures[0], other])
    rows = embedding.featurize_many([other, structures[0]], ignore_errors=True)
    assert np.isfinite(rows).all(axis=1).tolist() == [False, True]
    stated = dcs.simulate_xrd(structures[0])[0]
    plain = np.asarray(stated)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = embedding.featurize(stated)
        known = clone(XRDEmbedding("small", grid=dcs.XRDGrid()))
        assert known.grid == dcs.XRDGrid() and np.allclose(known.featurize(plain), expected)
        with pytest.raises(dcs.errors.GridError, match="10-90"):
            XRDEmbedding("small", grid=dcs.XRDGrid(two_theta_max=90.0)).featurize(plain)
    with pytest.warns(UserWarning, match="grid="):
        assert np.allclose(embedding.featurize(plain), expected)


def test_an_entry_of_a_site_embedding_is_a_pair(structures):
    with pytest.raises(dcs.CrystalInputError, match="entry 0.*index of a site"):
        SiteEmbedding("small").featurize_many(structures)


@pytest.mark.parametrize("layers", [[0, -1], (2,), [-1, -4, 1]])
def test_layers_have_one_name_each(layers, structures):
    for embedding in (CrystalEmbedding("small", layers), SiteEmbedding("small", layers)):
        labels = embedding.feature_labels()
        row = embedding.featurize(*((structures[0], 0) if isinstance(embedding, SiteEmbedding) else structures[:1]))
        assert len(labels) == len(set(labels)) == len(row) and not any("-" in label for label in labels)
    for wrong in ([1, 1], [3, -1], [], [4], 3, "3"):
        with pytest.raises(ValueError, match="different layers"):
            CrystalEmbedding("small", wrong).feature_labels()


def test_statistics_have_their_usual_names():
    labels = CrystalEmbedding("small").feature_labels()
    for statistic in ("mean", "std", "minimum", "maximum"):
        assert f"small {statistic} electronegativity" in labels
    assert "small layer 1 std #0" in CrystalEmbedding("small", [1]).feature_labels()
    assert not any(word in label for label in labels for word in ("deviation", "least", "greatest"))


@pytest.mark.parametrize("attributes", [True, False])
@pytest.mark.parametrize("readout", ["mean", "means", "mean_std"])
def test_every_space_and_layer_has_as_many_names_as_columns(readout, attributes, structures):
    encoder = dict(width=6, n_layers=2, hidden=8, embedding_size=5, readout=readout, attributes=attributes)
    grid = dcs.XRDGrid(n_bins=500, fwhm=1.0)
    arguments = dict(encoder=encoder, xrd_encoder=dict(channels=4, hidden=8), grid=grid)
    model = dcs.CrystalSSLModel("suzuki2022", **arguments)
    embeddings = [CrystalEmbedding(model, space=s) for s in ("descriptor", "shared", "pattern", "similarity")]
    embeddings += [CrystalEmbedding(model, layers) for layers in ([0], [2, 1])] + [XRDEmbedding(model)]
    embeddings += [SiteEmbedding(model), SiteEmbedding(model, [0, 2])]
    for embedding in embeddings:
        row = embedding.featurize(*((structures[0], 0) if isinstance(embedding, SiteEmbedding) else structures[:1]))
        labels = embedding.feature_labels()
        assert len(labels) == len(set(labels)) == len(row), embedding


def test_a_model_saved_again_is_opened_again(structures, tmp_path):
    arguments = dict(encoder=dict(width=6, n_layers=1, hidden=8, embedding_size=5))
    vectors = []
    for seed in (0, 1):
        dcs.save_pretrained(dcs.CrystalSSLModel("kong2024", seed=seed, **arguments), tmp_path / "mine")
        embedding = CrystalEmbedding(str(tmp_path / "mine"), space="shared")
        vectors.append(embedding.transform(structures))
        assert embedding.model is embedding.model and embedding.feature_labels()[0] == "mine shared #0"
    assert not np.allclose(*vectors)


def test_tables_with_several_levels_of_columns(structures, broken):
    frame = pd.DataFrame({"structure": [*structures[:2], broken]}, index=["a", "b", "c"])
    embedding = CrystalEmbedding("small", layers=[1])
    table = embedding.featurize_dataframe(frame, "structure", multiindex=True, ignore_errors=True, return_errors=True)
    assert table.columns.nlevels == 2 and list(table.index) == ["a", "b", "c"]
    numbers = table["CrystalEmbedding"][embedding.feature_labels()]
    assert numbers.notna().all(axis=1).tolist() == [True, True, False]
    assert np.allclose(numbers[:2].to_numpy(float), embedding.transform(structures[:2]), atol=1e-4)
    sites = pd.DataFrame({"structure": [structures[0]] * 2, "site": [0, 1]})
    wide = SiteEmbedding("small", layers=[1]).featurize_dataframe(sites, ["structure", "site"])
    assert wide.shape == (2, 2 + 48) and wide.notna().all(axis=None)


@pytest.mark.parametrize("make", [CrystalEmbedding, SiteEmbedding, XRDEmbedding])
def test_what_was_left_out_is_logged_once(make, structures, broken, caplog):
    pair = make is SiteEmbedding
    make("small").transform([(s, 0) if pair else s for s in (structures[0], broken)])
    assert caplog.text.count("disorder='refuse'") == 1 and caplog.text.count("left out") == 1
    caplog.clear()
    if make is not CrystalEmbedding:
        make("small").transform([(structures[0], 99)] if pair else [np.zeros(7)])
        assert caplog.text.count("left out") == 1 and ("site 99" if pair else "7 bins") in caplog.text


def test_a_folder_that_was_trained_in_is_a_model(structures, tmp_path):
    model = dcs.CrystalSSLModel("kong2024", encoder=dict(width=6, n_layers=1), model_dir=str(tmp_path / "run"))
    X = np.empty(len(structures), object)
    X[:] = dcs.structures_to_graphs(structures, progress=False)
    model.fit(NumpyDataset(X), nb_epoch=1)
    embedding = CrystalEmbedding(str(tmp_path / "run"), space="shared")
    assert np.allclose(embedding.transform(structures), model.embed(structures, progress=False), atol=1e-5)
    assert embedding.feature_labels()[0] == "run shared #0"


def test_sites_of_every_kind_of_structure(structures, tmp_path):
    structures[0].to(filename=str(tmp_path / "a.cif"))
    embedding = SiteEmbedding("small")
    expected = embedding.featurize(structures[0], 0)
    (crystal,) = dcs.read_structures(structures[0])
    graph = dcs.structures_to_graphs(structures[0])[0]
    for one in (crystal, graph, structures[0].to_ase_atoms(), structures[0].as_dict(), tmp_path / "a.cif"):
        assert np.allclose(embedding.featurize(one, 0), expected, atol=1e-4)
    assert not np.allclose(embedding.featurize(dcs.read_structures(structures[1]).__iter__().__next__(), 0), expected)
    with pytest.raises(dcs.errors.UnsupportedObjectError, match="an object of type int"):
        embedding.featurize(3, 0)
    with pytest.raises(dcs.errors.UnsupportedObjectError, match="^site 1.5: "):
        embedding.featurize(crystal, 1.5)


def test_an_unknown_policy_for_disorder_names_the_nearest(structures):
    with pytest.raises(dcs.errors.OptionError, match="refuse, dominant, average.*disorder='average'"):
        CrystalEmbedding("small", disorder="avg").featurize(structures[0])
