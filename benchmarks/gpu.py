"""Check and measure on one GPU (or two) everything that needs one, in less than eight minutes.

    python benchmarks/gpu.py [CRYSTALS] [--batch-size 256] [--steps 20]
    python benchmarks/gpu.py --device cpu --steps 2 --batch-size 8       # a rehearsal where there is no GPU

CRYSTALS is anything that ``read_structures`` reads; by default the bundled prototypes. Four tables are printed:

* every preset, trained for 20 steps on the GPU and on the CPU from the same weights, with the largest relative
  difference of a loss and the largest difference of a weight relative to the scale of the weights. Gradient descent is
  used, because Adam amplifies rounding where a gradient should be zero, and convolutions compute without TF32;
* mixed precision beside full precision, on the GPU: the largest relative difference of a mean loss;
* processes: the same training in a group of one process, over NCCL, and of two if there are two GPUs;
* rates: patterns simulated on the CPU, crystals embedded and crystals trained on per second, and the peak of the GPU's
  memory, each preset in full and in mixed precision, with and without preparing the next step ahead.

Where there is no GPU it says so and ends with status 0. If a check fails, the status is 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

PRESETS = "joint joint-measured-small kong2024 kong2024-contrastive suzuki2022 denoising-physics-small".split()
SMALL = {"encoder": {"width": 16, "n_layers": 2, "hidden": 32, "embedding_size": 16},
         "xrd_encoder": {"channels": 8, "hidden": 32}}  # fmt: skip
PARTS = ["presets", "precision", "processes", "rates"]
RATE = 0.003
TOLERANCE = 1e-3
MIXED_TOLERANCE = 0.05


def read_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crystals", nargs="?", help="anything that read_structures reads (default: prototypes)")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20, help="training steps of each check")
    parser.add_argument("--batch-size", type=int, default=256, help="crystals in a step whose rate is measured")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="tables to print (default: all)")
    parser.add_argument("--worker", metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args()


def repeated(graphs: list, n: int) -> Any:
    """A data set of n graphs."""
    import deepchem as dc
    import numpy as np

    return dc.data.NumpyDataset(np.fromiter((graphs * (n // len(graphs) + 1))[:n], object))


def train(preset: str, graphs: list, device: str, steps: int, **options: Any) -> tuple[Any, Any]:
    """The losses of each step, (steps, n_losses), and the weights at the end, of a small model."""
    import deepchem as dc
    import numpy as np
    import torch
    from torch.nn.utils import parameters_to_vector

    import deepchem_crystalssl as dcs

    torch.backends.cudnn.allow_tf32 = False
    size = min(32, len(graphs))
    model = dcs.CrystalSSLModel(
        preset, **SMALL, batch_size=size, device=torch.device(device), log_frequency=10**9,
        optimizer=dc.models.optimizers.GradientDescent(RATE), **options,
    )  # fmt: skip
    losses: list[list[float]] = []
    model.fit(repeated(graphs, size * steps), nb_epoch=1, checkpoint_interval=0, progress=False, deterministic=True,
              callbacks=lambda m, step: losses.append([x for _, x in sorted(m.last_losses.items())]))  # fmt: skip
    return np.array(losses), parameters_to_vector(model.model.parameters()).detach().cpu().numpy()


def differences(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[float, float]:
    """The largest difference of a loss, relative to it, and that of a weight, relative to the largest weight or 1."""
    import numpy as np

    losses = np.abs(one[0] - other[0]) / np.maximum(np.abs(other[0]), 0.01)
    return float(losses.max()), float(np.abs(one[1] - other[1]).max() / max(1.0, np.abs(other[1]).max()))


def verdict(*found: float, most: float = TOLERANCE) -> str:
    """Whether all differences are small enough."""
    return "yes" if all(value <= most for value in found) else "NO"


def compare_presets(graphs: list, device: str, steps: int) -> bool:
    """Each preset on the device and on the CPU."""
    print(f"\n{'preset':24} {'loss':>9} {'weights':>9}  equal to the CPU (to {TOLERANCE:g})")
    good = True
    for preset in PRESETS:
        found = differences(train(preset, graphs, device, steps), train(preset, graphs, "cpu", steps))
        good &= verdict(*found) == "yes"
        print(f"{preset:24} {found[0]:9.1e} {found[1]:9.1e}  {verdict(*found)}", flush=True)
    return good


def compare_precisions(graphs: list, device: str, steps: int) -> bool:
    """Mixed precision beside full precision, by the mean losses of the training."""
    import numpy as np

    print(f"\n{'preset':24} {'mean loss':>9}  mixed equal to full precision (to {MIXED_TOLERANCE:g})")
    good = True
    for preset in ("joint", "joint-measured-small", "suzuki2022"):
        full, mixed = (train(preset, graphs, device, steps, mixed_precision=m)[0].mean(0) for m in (False, True))
        found = float((np.abs(full - mixed) / np.abs(full)).max())
        good &= verdict(found, most=MIXED_TOLERANCE) == "yes"
        print(f"{preset:24} {found:9.1e}  {verdict(found, most=MIXED_TOLERANCE)}", flush=True)
    return good


def compare_processes(options: argparse.Namespace, graphs: list, n_gpus: int) -> bool:
    """The training of one process in a group of one, and of two where each has a GPU."""
    import numpy as np

    backend = "gloo" if options.device == "cpu" else "nccl"
    print(f"\n{'processes':24} {'loss':>9} {'weights':>9}  equal to a process without a group (to {TOLERANCE:g})")
    alone, good = train("joint", graphs, options.device, options.steps), True
    for n in (1, 2) if n_gpus > 1 or options.device == "cpu" else (1,):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "found.npz")
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={n}"]
            given = [options.crystals] if options.crystals else []
            command = [sys.executable, *launcher, __file__, *given, "--device", options.device, "--steps",
                       str(options.steps), "--worker", str(path)]  # fmt: skip
            ended = subprocess.run(command, capture_output=True, text=True, timeout=180)
            if not path.exists():
                print(f"{n} over {backend}: failed\n{ended.stderr[-2000:]}")
                good = False
                continue
            stored = np.load(path)
            found = differences((stored["losses"], stored["weights"]), alone)
        good &= verdict(*found) == "yes"
        print(f"{f'{n} over {backend}':24} {found[0]:9.1e} {found[1]:9.1e}  {verdict(*found)}", flush=True)
    return good


def work(options: argparse.Namespace) -> None:
    """One process of :func:`compare_processes`."""
    import numpy as np
    import torch
    from torch import distributed

    rank = int(os.environ["LOCAL_RANK"])
    device = "cpu" if options.device == "cpu" else f"cuda:{rank}"
    if device != "cpu":
        torch.cuda.set_device(rank)
    distributed.init_process_group("gloo" if device == "cpu" else "cpu:gloo,cuda:nccl")
    losses, weights = train("joint", read_graphs(options.crystals, options.device), device, options.steps)
    if rank == 0:
        np.savez(options.worker, losses=losses, weights=weights)
    distributed.destroy_process_group()


def seconds(function: Any, device: str) -> float:
    """Duration of a call, until the device has done its work."""
    import torch

    start = time.perf_counter()
    function()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure_rates(graphs: list, options: argparse.Namespace) -> None:
    """Patterns, embeddings and training steps per second."""
    import torch

    import deepchem_crystalssl as dcs
    from deepchem_crystalssl.diffraction.conditions import TRAINING, measure_patterns

    device, n = options.device, options.batch_size
    many = list(repeated(graphs, 4 * n).X)
    print(f"\n{'rate':44} {'1/s':>9} {'GB':>6}")
    for name, call in (("patterns, ideal, all CPUs", lambda: dcs.simulate_xrd(many, progress=False)),
                       ("patterns as measured, one CPU", lambda: measure_patterns(many[:n], TRAINING))):  # fmt: skip
        call()
        items = n if "measured" in name else len(many)
        print(f"{name:44} {items / seconds(call, 'cpu'):9.0f}", flush=True)
    model = dcs.CrystalSSLModel("joint", device=torch.device(device))
    patterns = dcs.simulate_xrd(many, progress=False)
    for name, call in (("crystals embedded, joint", lambda: model.embed(many, progress=False)),
                       ("patterns embedded, joint", lambda: model.embed_xrd(patterns))):  # fmt: skip
        call()
        print(f"{name:44} {len(many) / seconds(call, device):9.0f}", flush=True)
    for preset in ("joint", "joint-measured", "kong2024", "suzuki2022"):
        for mixed in (False, True):
            for ahead in (False, True):
                rate, peak = training_rate(preset, graphs, options, mixed, ahead)
                kind = f"{'bfloat16' if mixed else 'float32'}{', prepared ahead' if ahead else ''}"
                print(f"{f'trained, {preset}, {kind}':44} {rate:9.0f} {peak:6.2f}", flush=True)


def training_rate(
    preset: str, graphs: list, options: argparse.Namespace, mixed: bool, ahead: bool
) -> tuple[float, float]:
    """Crystals per second after two steps of warming up, and the peak of the GPU's memory, GB."""
    import torch

    import deepchem_crystalssl as dcs

    torch.backends.cudnn.allow_tf32 = True  # as by default
    n, steps = options.batch_size, max(3, min(10, options.steps))
    model = dcs.CrystalSSLModel(preset, batch_size=n, mixed_precision=mixed, prepare_ahead=ahead, log_frequency=10**9,
                                device=torch.device(options.device))  # fmt: skip
    times: list[float] = []
    on_gpu = options.device != "cpu"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    model.fit(repeated(graphs, n * steps), nb_epoch=1, checkpoint_interval=0, progress=False,
              callbacks=lambda m, step: times.append(time.perf_counter()))  # fmt: skip
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else float("nan")
    return n * (len(times) - 2) / (times[-1] - times[1]), peak


def read_graphs(crystals: str | None, device: str) -> list:
    """The graphs of the crystals; fewer for a rehearsal."""
    import deepchem_crystalssl as dcs
    from deepchem_crystalssl.crystals.prototypes import bundled_prototypes

    source = crystals or bundled_prototypes()
    graphs = dcs.structures_to_graphs(source, on_error="skip", progress=False)
    return graphs[:24] if device == "cpu" else graphs[:2000]


def main() -> int:
    """Print the tables."""
    options = read_options()
    import torch

    warnings.filterwarnings("ignore")
    if options.device != "cpu" and not torch.cuda.is_available():
        print("no GPU")
        return 0
    if options.worker:
        work(options)
        return 0
    start = time.monotonic()
    card = "CPU (a rehearsal)" if options.device == "cpu" else torch.cuda.get_device_name()
    print(f"{card}, PyTorch {torch.__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} processors")
    graphs = read_graphs(options.crystals, options.device)
    good = True
    if "presets" in options.parts:
        good &= compare_presets(graphs, options.device, options.steps)
    if "precision" in options.parts:
        good &= compare_precisions(graphs, options.device, options.steps)
    if "processes" in options.parts:
        good &= compare_processes(options, graphs, torch.cuda.device_count())
    if "rates" in options.parts:
        measure_rates(graphs, options)
    print(f"\n{time.monotonic() - start:.0f} s; {'all checks passed' if good else 'A CHECK FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
