"""Every preset and every objective starts, is killed, resumes, and ends as if nothing had happened."""

import deepchem as dc
import numpy as np
import pytest
import torch

from deepchem_crystalssl import CrystalSSLModel, XRDGrid
from deepchem_crystalssl.pretext.objectives import OBJECTIVES, Labels
from deepchem_crystalssl.pretext.presets import PRESETS

pytestmark = pytest.mark.filterwarnings("ignore:xrd_encoder and conditions have no effect")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
ENCODER = dict(width=8, hidden=8, embedding_size=8)
KNOWN = {f"preset {name}": name for name in PRESETS} | {
    name: [Labels(["0"]) if name == "Labels" else build()]
    for name, build in OBJECTIVES.items()
    if name not in ("InfoNCE", "CrystalXRDTriplet")  # the presets hold them, with patterns
}


@pytest.fixture(scope="module")
def dataset(graphs):
    X = np.empty(24, object)
    X[:] = graphs[:24]
    return dc.data.NumpyDataset(X, [graph.volume for graph in X])


def model_of(objectives, folder, device):
    patterns = {"xrd_encoder": dict(channels=4, hidden=8)} if isinstance(objectives, str) else {}
    return CrystalSSLModel(
        objectives,
        encoder=ENCODER,
        grid=XRDGrid(n_bins=500, fwhm=1.0),
        batch_size=8,
        model_dir=str(folder),
        device=torch.device(device),
        **patterns,
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", KNOWN)
def test_a_stopped_training_ends_as_the_whole_one(name, device, dataset, tmp_path):
    objectives = KNOWN[name]
    whole = model_of(objectives, tmp_path / "whole", device)
    whole.fit(dataset, nb_epoch=2, progress=False)

    def stop(model, step):
        if step == 4:  # in the midst of the second epoch
            raise KeyboardInterrupt

    stopped = model_of(objectives, tmp_path / "stopped", device)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(dataset, nb_epoch=2, progress=False, callbacks=stop)
    resumed = model_of(objectives, tmp_path / "stopped", device)
    resumed.fit(dataset, nb_epoch=2, restore=True, progress=False)
    assert resumed.get_global_step() == whole.get_global_step() == 6
    states = [model.model.state_dict() for model in (whole, resumed)]
    moved = 0
    for key, value in states[0].items():
        same = torch.equal if device == "cpu" else lambda a, b: torch.allclose(a, b, rtol=1e-3, atol=1e-4)
        assert same(value, states[1][key]), key
        moved += value.numel()
    assert moved > 1000 and all(np.isfinite(loss) for loss in whole.last_losses.values())
