"""Processes that train one model together, and the share of a batch that each of them computes.

The loss of a batch is a sum of parts, one for each process (rank): each computes the terms of its own crystals, with
means that are divided by the number of terms of the whole batch. What a term needs of other crystals is gathered from
all ranks or summed over them, with gradients. So the sum over the ranks of the gradients of their parts is the gradient
of the one loss. All ranks make the same calls in the same order, also with an empty share, because each call waits for
all; a backward pass makes them in the reverse order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch import distributed as processes

Axis = Literal["crystals", "sites", "edges"]
SMALL = 2**16
"""Up to so many numbers are exchanged and then added by each rank: a message in two steps would wait twice."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a training. Every method is the identity for a process that is not in a group.

    Attributes
    ----------
    rank : int
        Which of them this one is, from 0.
    size : int
        How many there are.
    alone : bool
        Whether there is no process group.

    Examples
    --------
    >>> ALONE.sum(torch.ones(2)), ALONE.gather(torch.ones(1, 3), [1]).shape
    (tensor([1., 1.]), torch.Size([1, 3]))
    """

    rank: int = 0
    size: int = 1
    alone: bool = True

    @classmethod
    def here(cls) -> Ranks:
        """Those of the process group of PyTorch that this process is in, if it is in one."""
        if processes.is_available() and processes.is_initialized():
            return cls(processes.get_rank(), processes.get_world_size(), alone=False)
        return ALONE

    def sum(self, x: Tensor) -> Tensor:
        """The sum over the ranks, on each of them, with gradients."""
        return x if self.alone else _Sum.apply(x, self)

    def gather(self, x: Tensor, counts: list[int]) -> Tensor:
        """The rows of all ranks, one rank after the other, with gradients; ``counts`` are their numbers of rows."""
        return x if self.alone else _Gathered.apply(x, self, counts)

    def total(self, x: Tensor) -> Tensor:
        """The sum over the ranks, without gradients."""
        if self.alone:
            return x
        if x.numel() <= SMALL:
            return self.gather_blocks(x).sum(0)
        sent = _on_the_wire(x.detach().clone())
        processes.all_reduce(sent)
        return sent.to(x.device)

    def gather_blocks(self, x: Tensor) -> Tensor:
        """Tensors of equal shape of all ranks, (size, ...), without gradients."""
        if self.alone:
            return x[None]
        sent = _on_the_wire(x.detach().contiguous())
        copies = sent.expand(self.size, *sent.shape).contiguous()
        parts = torch.empty_like(copies)
        processes.all_to_all_single(parts, copies)
        return parts.to(x.device)

    def copy_from(self, x: Tensor, source: int = 0) -> None:
        """Overwrite a tensor by that of one rank."""
        if not self.alone:
            sent = _on_the_wire(x.detach().clone())
            processes.broadcast(sent, source)
            x.detach().copy_(sent)

    def agree(self, decide: Callable[[], Any], source: int = 0) -> Any:
        """What one rank decides, by default the first, on every rank; the decision is a value that JSON can hold."""
        if self.alone:
            return decide()
        text = json.dumps(decide() if self.rank == source else None).encode()
        length = torch.tensor([len(text)])
        self.copy_from(length, source)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.rank == source:
            content.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        self.copy_from(content, source)
        return json.loads(content.numpy().tobytes())

    def wait(self) -> None:
        """Return when all ranks are here."""
        self.total(torch.zeros(1))


ALONE = Ranks()
"""A process that trains alone."""


def _on_the_wire(x: Tensor) -> Tensor:
    """A tensor where the group can send it from: NCCL sends from GPUs only, and gloo from the CPU."""
    backend = processes.get_backend()
    if backend == "nccl" and x.device.type == "cpu":
        return x.cuda()
    return x.cpu() if backend == "gloo" and x.device.type != "cpu" else x


class _Sum(torch.autograd.Function):
    """A sum over the ranks: what one rank puts in enters the result of each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.total(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.ranks.total(gradients[0]), None


class _Gathered(torch.autograd.Function):
    """The rows of all ranks."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks, counts: list[int]) -> Tensor:
        ctx.ranks, ctx.first, ctx.n = ranks, sum(counts[: ranks.rank]), len(x)
        padded = x.new_zeros(max(counts), *x.shape[1:])
        padded[: len(x)] = x.detach()
        return torch.cat([part[:n] for part, n in zip(ranks.gather_blocks(padded), counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.ranks.total(gradients[0])[ctx.first : ctx.first + ctx.n], None, None


@dataclass(frozen=True, eq=False)
class Share:
    """Which crystals of a batch this process computes, and what it must know of the others.

    Without arguments it is the whole batch, and every method is the identity.

    Attributes
    ----------
    ranks : Ranks
    owners : Tensor
        (K,) int64; rank of each crystal of the whole batch.
    num_sites, num_edges : Tensor
        (K,) int64; of each crystal of the whole batch.
    """

    ranks: Ranks = ALONE
    owners: Tensor | None = None
    num_sites: Tensor | None = None
    num_edges: Tensor | None = None

    @property
    def is_whole(self) -> bool:
        """Whether this process computes the whole batch."""
        return self.owners is None

    def head(self, n: int) -> Share:
        """The share of the first n crystals of the whole batch."""
        if self.owners is None or self.num_sites is None or self.num_edges is None:
            return self
        return replace(self, owners=self.owners[:n], num_sites=self.num_sites[:n], num_edges=self.num_edges[:n])

    @cached_property
    def rows(self) -> Tensor:
        """Positions of this rank's crystals in the whole batch, ascending."""
        assert self.owners is not None
        return torch.nonzero(self.owners == self.ranks.rank)[:, 0]

    @cached_property
    def _counts(self) -> list[int]:
        assert self.owners is not None
        return torch.bincount(self.owners, minlength=self.ranks.size).tolist()

    @cached_property
    def _order(self) -> Tensor:
        """Where each crystal of the whole batch is in the rows that are gathered rank by rank."""
        assert self.owners is not None
        return torch.argsort(torch.argsort(self.owners, stable=True))

    def _sizes(self, along: Axis) -> Tensor:
        assert self.owners is not None and self.num_sites is not None and self.num_edges is not None
        sizes = {"crystals": torch.ones_like(self.owners), "sites": self.num_sites, "edges": self.num_edges}
        return sizes[along]

    def length(self, along: Axis) -> int:
        """Number of crystals, sites or edges of the whole batch."""
        return int(self._sizes(along).sum())

    def own(self, values: Tensor, along: Axis = "crystals") -> Tensor:
        """Those of this rank, of values for each crystal, site or edge of the whole batch."""
        if self.owners is None:
            return values
        return values[(self.owners == self.ranks.rank).repeat_interleave(self._sizes(along)).to(values.device)]

    def gather(self, x: Tensor) -> Tensor:
        """Rows of this rank's crystals, (B, ...), to those of the whole batch, (K, ...), with gradients."""
        if self.is_whole:
            return x
        return self.ranks.gather(x, self._counts)[self._order.to(x.device)]

    def columns(self, x: Tensor) -> Tensor:
        """The column of each row's own crystal in a matrix of own crystals times the whole batch, (B,)."""
        return torch.arange(len(x), device=x.device) if self.is_whole else self.rows.to(x.device)

    def total(self, x: Tensor) -> Tensor:
        """The sum over the ranks, without gradients."""
        return x if self.is_whole else self.ranks.total(x)

    def mean(self, own_mean: Tensor, along: Axis) -> Tensor:
        """This rank's part of a mean over all crystals, sites or edges, from the mean over its own."""
        if self.owners is None:
            return own_mean
        sizes = self._sizes(along)
        return _part(own_mean, int(sizes[self.rows].sum()), max(1, int(sizes.sum())))

    def mean_of(self, own_mean: Tensor, n: int) -> Tensor:
        """This rank's part of a mean over terms of which it has n, from the mean over its own."""
        if self.is_whole:
            return own_mean
        return _part(own_mean, n, self.ranks.total(own_mean.new_tensor(float(n))).clamp(min=1.0))

    def equal_part(self, loss: Tensor) -> Tensor:
        """This rank's part of a loss that every rank has computed as a whole."""
        return loss if self.is_whole else loss / self.ranks.size


WHOLE = Share()
"""A batch that one process computes."""


def _part(own_mean: Tensor, n: int, total: int | Tensor) -> Tensor:
    """A mean over no terms is not a number, and has no part in the sum; its graph is kept, for the calls in it."""
    return own_mean * (n / total) if n else torch.nan_to_num(own_mean) * 0.0
