"""Folders of models: which models open from them, and what a folder that cannot be used is told."""

import json

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_crystalssl import CrystalEmbedding, NEGNNModel, build_index, load_pretrained, save_pretrained
from deepchem_crystalssl.cli import main
from deepchem_crystalssl.errors import CheckpointError, UnsupportedObjectError
from deepchem_crystalssl.models.pretrained import read_card
from deepchem_crystalssl.recipes import embed_table


@pytest.fixture(scope="module")
def dataset(graphs):
    few = [graph for graph in graphs if graph.num_nodes <= 12][:12]
    X = np.empty(len(few), object)
    X[:] = few
    return dc.data.NumpyDataset(X, np.array([np.log(graph.volume / graph.num_nodes) for graph in few]))


def forget_fine_tune(path, *keys):
    """Make the configuration one of a version that did not write ``fine_tune``."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys:
        inner = inner[key]
    del inner["fine_tune"]
    content.pop("checksum")  # versions up to 0.1 wrote none
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("level", ["crystal", "site"])
def test_a_fine_tuned_model_opens_without_its_arguments(dataset, tmp_path, old, level):
    y = dataset.y
    if level == "site":
        y = np.empty(len(dataset), object)
        y[:] = [graph.atomic_numbers.astype(float) for graph in dataset.X]
    labelled = dc.data.NumpyDataset(dataset.X, y)
    model = NEGNNModel(
        pretrained="small", fine_tune=3e-5, level=level, hidden=8, batch_size=6, model_dir=str(tmp_path / "run")
    )
    model.fit(labelled, nb_epoch=1)
    save_pretrained(model, tmp_path / "saved", half=False)
    if old:
        forget_fine_tune(tmp_path / "run" / "config.json")
        forget_fine_tune(tmp_path / "saved" / "card.json", "config")
    expected = model.predict(dataset)
    for opened in (
        load_pretrained(tmp_path / "saved"),
        load_pretrained(tmp_path / "run"),
        NEGNNModel.from_folder(tmp_path / "run"),
    ):
        tolerance = 0.1 if opened.fine_tune is None else 1e-3  # vectors of a frozen encoder are kept in half precision
        assert np.allclose(opened.predict(dataset), expected, rtol=1e-4, atol=tolerance)
    opened.fit(labelled, nb_epoch=1)
    assert opened.fine_tune == 3e-5 and opened.get_global_step() == 3
    assert {group["initial_lr"] for group in opened._pytorch_optimizer.param_groups} == {0.002, 3e-5}


def test_a_checkpoint_of_a_frozen_encoder_is_not_restored_into_a_tuned_one(dataset, tmp_path):
    options = dict(pretrained="small", hidden=8, batch_size=6, level="site", model_dir=str(tmp_path))
    NEGNNModel(**options).save_checkpoint()
    with pytest.raises(CheckpointError, match="fine_tune"):
        NEGNNModel(**options, fine_tune=1e-4).restore()
    tuned = NEGNNModel(**options, fine_tune=1e-4)
    tuned.save_checkpoint()
    other = NEGNNModel(**options, fine_tune=1e-5)  # another rate goes on with the same weights
    other.restore()
    pairs = zip(other.encoder.parameters(), tuned.encoder.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_negnn_gives_no_vectors_of_crystals(dataset, structures, tmp_path, capsys):
    model = NEGNNModel(pretrained=None, hidden=8, model_dir=str(tmp_path / "run"))
    model.save_checkpoint()
    save_pretrained(model, tmp_path / "saved")
    for folder in (tmp_path / "run", tmp_path / "saved"):
        for use in (
            lambda f: CrystalEmbedding(pretrained=f).featurize(structures[0]),
            lambda f: build_index(structures[:3], tmp_path / "index", model=f, progress=False),
            lambda f: embed_table(structures[:3], f, progress=False),
        ):
            with pytest.raises(CheckpointError, match="a model of class NEGNNModel.*predict_embedding"):
                use(folder)
    assert main(["embed", "prototypes.cif", "-o", str(tmp_path / "v.csv"), "--model", str(tmp_path / "run")]) == 2
    assert "predict_embedding" in capsys.readouterr().err
    with pytest.raises(UnsupportedObjectError, match="of type NEGNNModel.*predict_embedding"):
        build_index(structures[:3], tmp_path / "index", model=model, progress=False)
    with pytest.raises(UnsupportedObjectError, match="of type NEGNNModel.*predict_embedding"):
        CrystalEmbedding(pretrained=model).featurize(structures[0])


def test_a_misspelt_name_and_a_folder_without_a_model(tmp_path):
    with pytest.raises(CheckpointError, match="Did you mean 'small'"):
        load_pretrained("smal")
    for make in (lambda: load_pretrained(tmp_path), lambda: read_card(tmp_path)):
        with pytest.raises(CheckpointError, match="saved or trained in") as caught:
            make()
        assert "Errno" not in str(caught.value) and "same configuration" not in str(caught.value)
    (tmp_path / "config.json").write_text(json.dumps(NEGNNModel(pretrained=None).config))
    with pytest.raises(CheckpointError, match="no checkpoint.*holds checkpoints"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("thing", [3, ["small"]])
def test_a_model_is_opened_by_its_name(thing):
    for make in (lambda: load_pretrained(thing), lambda: NEGNNModel(pretrained=thing)):
        with pytest.raises(UnsupportedObjectError, match="name or its folder"):
            make()


def test_a_negnn_is_no_encoder():
    with pytest.raises(UnsupportedObjectError, match="a NEGNN is not an encoder"):
        NEGNNModel(pretrained=NEGNNModel(pretrained=None))
