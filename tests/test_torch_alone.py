"""The networks and objectives need torch, and nothing else of what this package is built on."""

import subprocess
import sys

CODE = """
import sys

ABSENT = (
    "deepchem dgl pymatgen matminer sklearn pandas scipy numba pyarrow gemmi spglib matplotlib tqdm yaml monty"
).split()


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
import importlib.util

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ABSENT else find_spec(name, *rest)

import torch
from deepchem_crystalssl.nn import crystal_encoder, graph_batch, layers, xrd_encoder
from deepchem_crystalssl.pretext import views
from deepchem_crystalssl.pretext.batch import PretextBatch
from deepchem_crystalssl.pretext.presets import PRESETS

batch = graph_batch.GraphBatch(
    species_site=torch.arange(4), atomic_numbers=torch.tensor([11, 17, 12, 8]), occupancy=torch.ones(4),
    neighbor=torch.tensor([1, 0, 3, 2]), center=torch.arange(4), distance=torch.tensor([2.8, 2.8, 2.1, 2.1]),
    crystal=torch.tensor([0, 0, 1, 1]), num_sites=torch.tensor([2, 2]), volume=torch.tensor([45.0, 19.0]),
    image=torch.zeros(4, 3, dtype=torch.int8),
    frac_coords=torch.tensor([[0, 0, 0], [0.5, 0.5, 0.5]] * 2), lattice=torch.eye(3).repeat(2, 1, 1) * 4.0,
)
for name, preset in PRESETS.items():
    encoder = crystal_encoder.CrystalEncoder(**preset.encoder)
    xrd = xrd_encoder.XRDEncoder(embedding_size=encoder.embedding_size, **preset.xrd_encoder)
    parts = PretextBatch(
        batch, torch.rand(2, 5000), views.same_crystals(batch), encoder, xrd, torch.Generator(), torch.rand(2, 5000)
    )
    torch.stack([objective(parts, objective.build_head(encoder)) for objective in preset.objectives]).sum().backward()
print("fine")
"""


def test_networks_and_objectives_run_on_torch_alone():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.stdout.strip() == "fine", done.stderr[-1500:]
