"""Training one model in several processes: joining their group, and the one gradient.

The losses are formed from calls to parts of a model (encoders, readouts, heads), several of each in one step, and hold
sums over all ranks. DistributedDataParallel expects one forward pass of one module, and averages what the ranks compute
alone. Here every rank has its part of the one loss (:mod:`deepchem_crystalssl.nn.ranks`). The gradients of the parts
are added in one message after the backward pass, before they are clipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, nn

from ..errors import OptionError
from ..nn.ranks import Ranks
from ..processors import processors, thread_count

PATIENCE = timedelta(hours=6)
"""How long a process waits for others, while the first one validates; if one fails, ``torchrun`` ends all at once."""


def launched_size() -> int:
    """Number of processes that ``torchrun`` has started together, 1 without it."""
    started = all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))
    return int(os.environ["WORLD_SIZE"]) if started else 1


def threads_of_process() -> int:
    """Number of threads for each of the processes on this machine."""
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched_size() > 1 else 1
    return max(1, processors() // together) if together > 1 else thread_count()  # torchrun sets OMP_NUM_THREADS to 1


def local_device(device: torch.device | str | None) -> torch.device | str | None:
    """The device of this process: with ``torchrun`` each has a GPU of its own, if there are GPUs.

    Raises
    ------
    OptionError
        If there are more processes than GPUs.
    """
    if launched_size() == 1 or not torch.cuda.is_available() or str(device) not in ("None", "cuda"):
        return device
    k = int(os.environ["LOCAL_RANK"]) if torch.cuda.device_count() > 1 else 0  # a scheduler may show each its own
    if k >= torch.cuda.device_count():
        rule = "every process needs a GPU of its own"
        raise OptionError("--nproc_per_node", f"process {k} of {torch.cuda.device_count()} GPUs", rule,
                          "Start as many processes as there are GPUs, or train with --device cpu.")  # fmt: skip
    return torch.device("cuda", k)


def join_processes(device: torch.device | str) -> Ranks:
    """The processes that this one trains with: those of its process group, or those that ``torchrun`` started."""
    if Ranks.here().alone and launched_size() > 1:
        on_gpu = torch.device(device).type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PATIENCE)
    return Ranks.here()


def leave_processes() -> None:
    """Leave the process group, at the end of a program."""
    if not Ranks.here().alone:
        distributed.destroy_process_group()


def agreed_folder(folder: str, is_temporary: bool, ranks: Ranks) -> str:
    """The folder of the first process; a temporary one of another process is removed."""
    agreed = ranks.agree(lambda: str(Path(folder).absolute()))
    if ranks.rank and is_temporary and agreed != str(Path(folder).absolute()):
        shutil.rmtree(folder, ignore_errors=True)
    return agreed


def make_equal(model: nn.Module, ranks: Ranks) -> None:
    """Give all ranks the weights and running statistics of the first one."""
    if not ranks.alone:
        for tensor in model.state_dict().values():
            ranks.copy_from(tensor)


def add_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Replace the gradients by their sums over the ranks, in one message.

    Parameters that have no gradient on any rank are left without one.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if ranks.alone or not trained:
        return
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
    known = torch.tensor([float(p.grad is not None) for p in trained], device=parts[0].device)
    sums = ranks.total(torch.cat([known, *(part.float().flatten() for part in parts)]))
    some, *gradients = sums.split([len(trained), *(part.numel() for part in parts)])
    for parameter, gradient, n in zip(trained, gradients, some.tolist(), strict=True):
        if n:
            parameter.grad = gradient.view_as(parameter).to(parameter.dtype)
