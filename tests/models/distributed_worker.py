"""What each process of tests/models/test_distributed.py runs: ``torchrun distributed_worker.py TASK FOLDER``."""

import json
import os
import signal
import sys
import warnings
from pathlib import Path

import deepchem as dc
import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from deepchem_crystalssl import CrystalSSLModel, CrystalStore, NEGNNModel, XRDGrid, structures_to_graphs
from deepchem_crystalssl.crystals.prototypes import bundled_prototypes
from deepchem_crystalssl.errors import OptionError
from deepchem_crystalssl.pretext.objectives import (
    BarlowTwins,
    BondValences,
    DenoisedDistances,
    InfoNCE,
    Labels,
    MaskedSites,
    SiteDescriptors,
)

PRESETS = "joint joint-measured-small kong2024 kong2024-contrastive suzuki2022 denoising-physics-small".split()
OTHERS = {
    "views": [BarlowTwins(), DenoisedDistances()],
    "numbers": [SiteDescriptors(), BondValences(), Labels(["0"])],
    "two crystals": [InfoNCE(), MaskedSites(crystals=1 / 3), DenoisedDistances()],
}
SIZES = dict(
    encoder=dict(width=8, n_layers=2, hidden=16, embedding_size=8),
    xrd_encoder=dict(channels=4, hidden=8),
    grid=XRDGrid(n_bins=500, fwhm=1.0),
    batch_size=8,
)
RATE = 0.003


def crystals(n=41):
    """Crystals with labels; the 12th has no pattern, because its element has no scattering factor."""
    structure = Structure(Lattice.cubic(5.0), ["Lr"], [[0, 0, 0]])
    found = structures_to_graphs([*bundled_prototypes()[:11], structure, *bundled_prototypes()[11:40]], progress=False)
    return dc.data.NumpyDataset(np.fromiter(found[:n], object), np.random.RandomState(0).rand(n, 1))


def model_of(preset, folder=None, **options):
    """A small model. Its optimizer does not amplify rounding, as Adam does where a gradient should be zero."""
    given = {**SIZES, "optimizer": dc.models.optimizers.GradientDescent(RATE), **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CrystalSSLModel(OTHERS.get(preset, preset), model_dir=folder and str(folder), **given)


def train(model, dataset, nb_epoch, **options):
    """The losses of each step, and the weights and running statistics at the end."""
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(dataset, nb_epoch=nb_epoch, progress=False,
                  callbacks=lambda m, step: losses.append(sorted(m.last_losses.items())), **options)  # fmt: skip
    return np.array([[value for _, value in step] for step in losses]), state(model)


def weights(model):
    """What is trained."""
    return torch.nn.utils.parameters_to_vector(model.model.parameters()).detach().numpy()


def state(model):
    """All tensors of a model, one after the other: weights and running statistics."""
    return torch.cat([tensor.flatten().float() for tensor in model.model.state_dict().values()]).numpy()


def twenty_steps(preset):
    """A model, its losses and its end. In batches of two crystals one process often has none, or none to mask."""
    if preset == "two crystals":  # norms over two rows amplify rounding a hundredfold
        slow = dc.models.optimizers.GradientDescent(RATE / 100)
        model, chosen = model_of(preset, batch_size=2, optimizer=slow), range(2, 12)
    else:
        model, chosen = model_of(preset), range(1, 41)
    return model, *train(model, crystals().select(chosen), 4)


def equal(folder, rank):
    """Train every preset for 20 steps, and go on with what one process began."""
    found = {}
    for preset in [*PRESETS, *OTHERS]:
        model, losses, end = twenty_steps(preset)
        found |= {f"{preset} losses": losses, f"{preset} state": end, f"{preset} weights": weights(model)}
        found[f"{preset} left out"] = np.array([error.item for error in model.left_out])
    resumed = train(model_of("suzuki2022", folder / "begun by one"), crystals(), 4, restore=True)
    begun = train(model_of("suzuki2022", folder / "begun by two"), crystals(), 2)
    found |= {"resumed losses": resumed[0], "resumed weights": resumed[1], "begun losses": begun[0]}
    np.savez(folder / f"rank{rank}.npz", **found)


def shared(folder, rank):
    """What one process decides, and what each reads."""
    import deepchem_crystalssl.data.datasets as datasets

    built, build = [], datasets.structures_to_graphs
    datasets.structures_to_graphs = lambda records, *rest, **options: (
        built.append(len(records)) or build(records, *rest, **options)
    )
    store = CrystalStore(folder / "store")
    train(model_of("kong2024", folder / "reads"), store, 1)
    model, scores = model_of("kong2024", folder / "stops early" if rank == 0 else None), iter([2.0, 1.0, 3.0, 4.0, 0.0])

    def validate(dataset):
        assert rank == 0
        return {"loss": next(scores)}

    model.validate, steps = validate, []
    model.fit(store, nb_epoch=9, validation=store, patience=2, callbacks=lambda m, step: steps.append(step))
    refused = []
    for what in (lambda: NEGNNModel(pretrained=None).fit(crystals()),
                 lambda: model_of("kong2024").fit(store, variables=[])):  # fmt: skip
        try:
            what()
        except OptionError as error:
            refused.append(str(error))
    end = float(np.abs(state(model)).sum())
    told = {"built": built, "steps": steps[-1], "refused": refused, "folder": str(model.model_dir), "end": end}
    (folder / f"rank{rank}.json").write_text(json.dumps(told))


def stopped(folder, rank):
    """The second process is asked to stop in the third step."""

    def after(model, step):
        (folder / f"step{rank}").write_text(str(step))
        if step == 3 and rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        model_of("kong2024", folder / "model").fit(crystals(), nb_epoch=1000, callbacks=after, progress=False)
    except KeyboardInterrupt:
        (folder / f"stopped{rank}").touch()


def running(folder, rank):
    """Train until the launcher is asked to stop."""

    def after(model, step):
        (folder / f"step{rank}").write_text(str(step))

    model_of("kong2024", folder / "model").fit(crystals(), nb_epoch=100_000, callbacks=after, progress=False)


def failing(folder, rank):
    """The second process fails in the third step, while the first one goes on."""

    def after(model, step):
        if step == 3 and rank == 1:
            raise RuntimeError("the disk of this machine is full")

    model_of("joint").fit(crystals(), nb_epoch=1000, callbacks=after, progress=False)


def everything(folder, rank):
    """One task after the other in the same two processes, because each pair of them takes seconds to start."""
    for task in (equal, shared, stopped, failing):
        task(folder, rank)


if __name__ == "__main__":
    torch.set_num_threads(1)
    globals()[sys.argv[1]](Path(sys.argv[2]), int(os.environ["RANK"]))
