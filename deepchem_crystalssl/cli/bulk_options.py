"""The options of the commands that can be done by many workers."""

from __future__ import annotations

import argparse

from .arguments import share

ENGINES = ("processes", "dask", "ray")


def add_engine(command: argparse.ArgumentParser, result: str = "") -> None:
    """Add the options that say who does the work; without them this process does it."""
    group = command.add_argument_group("work in shards, by many workers")
    group.add_argument(
        "--engine",
        choices=ENGINES,
        help=f"processes of this machine, or a cluster of Dask or Ray{result} (default: this process alone)",
    )
    group.add_argument("--workers", type=int, metavar="N", help="workers on this machine (default: one per processor)")
    group.add_argument(
        "--address", help="of the scheduler of a cluster that is running (default: one is started on this machine)"
    )
    group.add_argument(
        "--shard",
        type=share,
        metavar="i/n",
        help="do only the i-th of n shares, i = 1, ..., n, as in an array job of SLURM: "
        "--shard $SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT (default: all)",
    )
    group.add_argument(
        "--shard-size",
        type=int,
        metavar="N",
        help="crystals of a shard (default: 4096, or 512 if each has a file of its own)",
    )


def is_sharded(options: argparse.Namespace) -> bool:
    """Whether any of these options is given."""
    return any(getattr(options, name) for name in ("engine", "workers", "address", "shard", "shard_size"))


def of_shards(options: argparse.Namespace, progress: bool | None) -> dict:
    """The options as arguments of :func:`~deepchem_crystalssl.bulk.map_shards`."""
    given = {
        "engine": options.engine or ("serial" if options.shard else "processes"), "workers": options.workers,
        "address": options.address, "shard": options.shard, "size": options.shard_size, "progress": progress,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None or name == "progress"}
