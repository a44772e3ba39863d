"""The numbers of physics where people meet them: matminer, scikit-learn, DeepChem."""

import deepchem as dc
import numpy as np
import pandas as pd
import pytest
from matminer.featurizers.base import MultipleFeaturizer
from matminer.featurizers.structure import DensityFeatures
from pymatgen.core import Lattice, Structure
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import deepchem_crystalssl as dcs
from deepchem_crystalssl.descriptors.physics import SpringElasticity, SpringVibrations, TightBinding
from deepchem_crystalssl.errors import DisorderError, ModelPhysicsError
from deepchem_crystalssl.physics import column_names, site_physics, standardized

ALL = [SpringVibrations, SpringElasticity, TightBinding]


@pytest.mark.parametrize("featurizer", [kind() for kind in ALL], ids=lambda f: type(f).__name__)
def test_matminer_featurizes_with_it(featurizer, structures):
    labels = featurizer.feature_labels()
    assert len(set(labels)) == len(labels) and featurizer.citations() and featurizer.implementors()
    numbers = "share", "odd", "number of", "localization"
    assert all("(" in label or label.startswith(numbers) or "share" in label for label in labels)  # units, where needed
    row = featurizer.featurize(structures[3])
    assert np.allclose(featurizer.featurize_many(structures[:5])[3], row, rtol=1e-5) and featurizer.precheck(
        structures[3]
    )
    assert clone(featurizer).get_params() == featurizer.get_params()
    frame = pd.DataFrame({"structure": [*structures[:4], None]})
    done = featurizer.featurize_dataframe(frame, "structure", ignore_errors=True, return_errors=True)
    assert done[labels[0]].isna().tolist() == [False] * 4 + [True]
    assert done.iloc[4][f"{type(featurizer).__name__} Exceptions"]


def test_beside_a_featurizer_of_matminer_in_processes(structures):
    both = MultipleFeaturizer([DensityFeatures(), SpringVibrations(), TightBinding()])
    both.set_n_jobs(2)
    alone = TightBinding().featurize_many(structures[:6])
    assert np.allclose(np.array(both.featurize_many(structures[:6], pbar=False))[:, -40:], alone, rtol=1e-5)


def test_in_a_pipeline_that_is_searched(structures):
    y = np.array([structure.density for structure in structures])
    pipeline = make_pipeline(SpringElasticity(), dcs.LaplacianRidgeCV())
    search = GridSearchCV(pipeline, {"laplacianridgecv__alphas": [[1e-3], [1.0]]}, cv=3).fit(structures, y)
    assert np.isfinite(search.predict(structures[:3])).all()


def test_a_descriptor_with_physics_says_its_blocks(structures):
    embedding = dcs.CrystalEmbedding("small", physics=True)
    plain = dcs.CrystalEmbedding("small")
    both, alone = embedding.transform(structures), plain.transform(structures)
    assert both.shape == (40, alone.shape[1] + 89) and np.array_equal(both[:, :-89], alone)
    assert len(embedding.feature_labels()) == len(embedding.blocks) == both.shape[1]
    assert list(dict.fromkeys(embedding.blocks)) == [
        "attributes", "learned", "predicted model physics",
        "highest frequency", "vibrations", "local vibrations", "elasticity", "highest modes",
        "electrons", "band edges",
    ]  # fmt: skip
    predicted = {"predicted " + part for part in ("highest frequency", "vibrations", "elasticity", "highest modes")}
    assert (
        set(plain.blocks) == {"attributes", "learned", "predicted electrons"} | predicted
        and np.abs(both[:, -89:]).max() <= 18
    )
    y = np.array([structure.density for structure in structures])
    reader = dcs.LaplacianRidgeCV(blocks=embedding.blocks).fit(both, y)
    assert set(reader.block_weights_) == set(embedding.blocks)


def test_a_crystal_without_numbers_costs_itself_alone(structures):
    heavy = Structure(Lattice.cubic(3), ["Rf"], [[0, 0, 0]])
    mixed = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]])
    many = [structures[0], heavy, mixed, structures[1]]
    for kind in ALL:
        table = kind().transform(many)
        assert np.isnan(table).any(1).tolist() == [False, True, True, False]
        with pytest.raises(ModelPhysicsError, match="Rf.*Z = 1-103"):
            kind().featurize(heavy)
        with pytest.raises(DisorderError):
            kind().featurize(mixed)
        assert np.isfinite(kind(disorder="average").featurize(mixed)).all()
    vectors = dcs.CrystalEmbedding("small", physics=True).transform(many)
    assert np.isnan(vectors).any(1).tolist() == [False, True, True, False]


def test_lone_atoms_and_noble_gases_have_numbers():
    for element, edge in (("Ne", 4.5), ("H", 12.0), ("He", 20.0), ("Cs", 6.1), ("Lr", 5.0)):
        lone = Structure(Lattice.cubic(edge), [element], [[0, 0, 0]])
        for kind in ALL:
            assert np.isfinite(kind().featurize(lone)).all()


def test_negnn_learns_with_physics(graphs, tmp_path):
    X = np.empty(40, object)
    X[:] = graphs[:40]
    dataset = dc.data.NumpyDataset(X, np.array([graph.volume / graph.num_nodes for graph in X]))
    model = dcs.NEGNNModel(pretrained="small", physics=True, kernel_share=0.5, model_dir=str(tmp_path), width=16)
    model.fit(dataset, nb_epoch=2, progress=False)
    columns = model.components["kernel"].columns
    assert columns.shape == (1, 454 + 89) and len(columns.unique()) > 1
    opened = dcs.NEGNNModel.from_folder(tmp_path)
    assert opened.physics and np.allclose(opened.predict(dataset), model.predict(dataset), atol=1e-5)
    with pytest.raises(dcs.CrystalInputError, match="an encoder that is not trained"):
        dcs.NEGNNModel(pretrained="small", physics=True, fine_tune=1e-4)


def test_the_kernel_of_negnn_is_the_reader_of_the_descriptor_with_physics(graphs):
    """Fitted and used on the same columns: the descriptor, and the numbers three times as heavy."""
    X = np.empty(60, object)
    X[:] = graphs[:60]
    y = np.array([graph.volume / graph.num_nodes for graph in X])
    model = dcs.NEGNNModel(pretrained="small", physics=True, kernel_share=1.0, width=16)
    model.fit(dc.data.NumpyDataset(X[:40], y[:40]), nb_epoch=1, progress=False)
    embedding = dcs.CrystalEmbedding("small", physics=True)
    columns = embedding.transform([graph.to_structure() for graph in X])
    systems = [graph.chemical_system for graph in X[:40]]
    reader = dcs.LaplacianRidgeCV(blocks=embedding.blocks).fit(columns[:40], y[:40], systems)
    assert np.allclose(model.predict(dc.data.NumpyDataset(X[40:]))[:, 0], reader.predict(columns[40:]), rtol=0.01)


def test_sites_have_their_numbers_too(structures):
    plain, both = dcs.SiteEmbedding("small"), dcs.SiteEmbedding("small", physics=True)
    structure = structures[4]
    pairs = [(structure, k) for k in range(len(structure))]
    alone, joined = plain.transform(pairs), both.transform(pairs)
    assert both.feature_labels()[-11:] == column_names(level="site") and joined.shape[1] == alone.shape[1] + 11
    numbers = 3 * standardized(site_physics(structure, progress=False), level="site")
    assert np.array_equal(joined[:, :-11], alone) and np.allclose(joined[:, -11:], numbers, atol=1e-5)
    heavy = Structure(Lattice.cubic(3), ["Rf"], [[0, 0, 0]])
    table = both.transform([pairs[0], (heavy, 0), pairs[1]])
    assert np.isnan(table).any(1).tolist() == [False, True, False] and np.allclose(table[2], joined[1], atol=1e-5)
