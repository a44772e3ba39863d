"""The networks and objectives need torch and NumPy, and nothing else of what this package is built on."""

import subprocess
import sys

import pytest

ALONE = """
import importlib, pkgutil, sys
from importlib.metadata import packages_distributions

# torch with what it needs itself, and what importing the package needs (lazy loading of names).
PRESENT = (
    "torch torchgen functorch numpy deepchem_crystalssl lazy_loader packaging wrapt typing_extensions sympy mpmath "
    "networkx jinja2 markupsafe filelock fsspec setuptools pkg_resources _distutils_hack __editable___"
).split()
ABSENT = {name for name in packages_distributions() if not name.startswith(tuple(PRESENT))}
assert {"deepchem", "pymatgen", "pandas", "scipy", "sklearn", "numba", "tqdm"} <= ABSENT


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
import importlib.util

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name.split(".")[0] in ABSENT else find_spec(name, *rest)

import torch
from deepchem_crystalssl.nn.graph_batch import GraphBatch

batch = GraphBatch(
    species_site=torch.arange(4), atomic_numbers=torch.tensor([11, 17, 12, 8]), occupancy=torch.ones(4),
    neighbor=torch.tensor([1, 0, 3, 2]), center=torch.arange(4), distance=torch.tensor([2.8, 2.8, 2.1, 2.1]),
    crystal=torch.tensor([0, 0, 1, 1]), num_sites=torch.tensor([2, 2]), volume=torch.tensor([45.0, 19.0]),
    image=torch.zeros(4, 3, dtype=torch.int8),
    frac_coords=torch.tensor([[0, 0, 0], [0.5, 0.5, 0.5]] * 2), lattice=torch.eye(3).repeat(2, 1, 1) * 4.0,
)
"""
MODULES = """
failed = {}
import deepchem_crystalssl.nn, deepchem_crystalssl.pretext
for room in (deepchem_crystalssl.nn, deepchem_crystalssl.pretext):
    for module in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            failed[module.name.split(".")[-1]] = error.name
assert failed == {"fused_convolution": "numba", "fused_structure_factor": "numba"}, failed
"""
OBJECTIVES = """
from deepchem_crystalssl.nn import crystal_encoder, xrd_encoder
from deepchem_crystalssl.pretext.batch import PretextBatch
from deepchem_crystalssl.pretext.objectives import OBJECTIVES, needed_of_encoder
from deepchem_crystalssl.pretext.presets import PRESETS, Preset

made = tuple(make(["a", "b"]) if name == "Labels" else make() for name, make in OBJECTIVES.items())
everything = Preset(made, {"readout": "mean_std"})
asked = {"physics": torch.rand(2, 89), "site_physics": torch.rand(batch.total_sites, 11)}
asked |= {"labels": torch.rand(2, 2), "label_weights": torch.ones(2, 2)}
for preset in (*PRESETS.values(), everything):
    encoder = crystal_encoder.CrystalEncoder(**preset.encoder, **needed_of_encoder(preset.objectives))
    xrd = xrd_encoder.XRDEncoder(embedding_size=encoder.embedding_size, **preset.xrd_encoder)
    same = torch.eye(2, dtype=torch.bool)
    patterns = torch.rand(2, 2, 5000)
    parts = PretextBatch(batch, patterns[0], same, encoder, xrd, torch.Generator(), patterns[1], **asked)
    torch.stack([objective(parts, objective.build_head(encoder)) for objective in preset.objectives]).sum().backward()
    assert all(p.grad is not None for p in encoder.convolutions.parameters() if p.ndim == 2)
"""
NEGNN = """
from deepchem_crystalssl.errors import LabelError
from deepchem_crystalssl.nn.backbones import BACKBONES
from deepchem_crystalssl.nn.crystal_encoder import CrystalEncoder
from deepchem_crystalssl.nn.negnn import NEGNN, KernelRegression, LabelScale, PropertyPredictor

for backbone in BACKBONES.values():
    encoder = CrystalEncoder(16, attributes=True, readout="means").requires_grad_(False)
    network = NEGNN(backbone(width=8), 1, encoder.width * 4 + 42)
    parts = {"network": network, "labels": LabelScale(1), "encoder": encoder, "kernel": KernelRegression(1)}
    model = PropertyPredictor(parts, "regression", 1, 2, None)
    parts["labels"].learn(torch.tensor([[1.0], [2.0]]), torch.ones(2, 1))
    described = encoder.describe(batch).detach()
    parts["kernel"].take(described, torch.ones(2, 1), torch.ones(1), torch.zeros(1), 0.5)
    values = model((batch, None))
    assert values.shape == (2, 1)
    values.square().sum().backward()
    for part in (network.embed_elements, network.embed_pretrained, network.output):
        assert part.weight.grad.abs().max() > 0
try:
    LabelScale(1).learn(torch.ones(2, 1), torch.zeros(2, 1))
except LabelError as error:
    assert "weight" in str(error)
"""


@pytest.mark.parametrize("code", [MODULES, OBJECTIVES, NEGNN], ids=["import", "objectives", "NEGNN"])
def test_networks_and_objectives_run_on_torch_alone(code):
    done = subprocess.run([sys.executable, "-c", ALONE + code + 'print("fine")'], capture_output=True, text=True)
    assert done.stdout.strip() == "fine", done.stderr[-1500:]
