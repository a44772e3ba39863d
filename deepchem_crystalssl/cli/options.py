"""The options of the command and of its subcommands, with their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from . import commands
from .arguments import (
    Renamed,
    concept,
    count,
    file_to_write,
    folder_to_write,
    number,
    seed,
    table_or_folder,
    whole_number,
)
from .bulk_options import add_engine
from .check_options import add_check
from .search_options import add_search

DISORDER = ("refuse", "dominant", "average")
SPACES = ("shared", "pattern", "descriptor", "similarity")
CONDITIONS = ("none", "clean", "realistic", "hard", "training")


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, except for switches and where the text says what happens without the option."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False or action.default in ([], ())
        return action.help if silent else super()._get_help_string(action)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command and its subcommands."""
    parser = argparse.ArgumentParser(
        "crystalssl",
        description="Self-supervised learning on crystals: embed, search, compare and map them.",
        epilog="Help on a command:  crystalssl COMMAND --help\nExample:            crystalssl demo -o demo",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"crystalssl {__version__}")
    _add_threads(parser, None)
    subparsers = parser.add_subparsers(metavar="COMMAND", dest="command")

    def add(name: str, run: Callable[[argparse.Namespace], int], text: str, example: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog=f"Example:\n  crystalssl {example}",
            formatter_class=_Help,
        )
        added.set_defaults(run=run)
        added.add_argument("-q", "--quiet", action="store_true", help="show no progress and no warnings")
        _add_threads(added, argparse.SUPPRESS)  # or it would undo what stands before the command
        return added

    _add_demo(add)
    add_check(add)
    _add_featurize(add)
    _add_pretrain(add)
    _add_embed(add)
    _add_physics(add)
    _add_index(add)
    add_search(add)
    _add_map(add)
    _add_explore(add)
    _add_evaluate(add)
    verify = add(
        "verify", commands.verify, "read all files of a folder that a command wrote, and list those that are damaged",
        "verify index",
    )  # fmt: skip
    verify.add_argument("folder", type=Path, help="an index, a store, a model, a training or an output of shards")
    add("models", commands.models, "list the trained models that come with the package", "models")
    return parser


def _add_threads(parser: argparse.ArgumentParser, default: Any) -> None:
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        default=default,
        help="threads of compiled loops, PyTorch and linear algebra (default: what OMP_NUM_THREADS says, else one for "
        "each processor that this process may use)",
    )


_Add = Callable[..., argparse.ArgumentParser]


def _add_source(command: argparse.ArgumentParser, **arguments: Any) -> None:
    text = (
        "a file, a folder or a glob of crystal files, a table (.csv, .parquet, .json), a database file, an archive, "
        "the address of an OPTIMADE query, or a store"
    )
    command.add_argument("source", help=arguments.pop("help", text), **arguments)


def _add_table(command: argparse.ArgumentParser, help: str) -> None:
    kind = file_to_write(".csv", ".parquet")
    command.add_argument("-o", "--output", type=kind, metavar="FILE", required=True, help=help)


def _add_disorder(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--disorder",
        choices=DISORDER,
        default="refuse",
        help="what to do with partially occupied sites: refuse the crystal, keep the dominant element of each site, "
        "or average the elements",
    )


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model",
        metavar="NAME|FOLDER",
        default="general",
        help="name of a model that comes with the package (see: crystalssl models), or folder of a trained one",
    )


def _add_seed(command: argparse.ArgumentParser, default: int | None, help: str) -> None:
    command.add_argument("--seed", type=seed, metavar="N", default=default, help=help)


def _add_demo(add: _Add) -> None:
    demo = add(
        "demo",
        commands.demo,
        "show what a trained model does with some crystals: neighbours, a pattern search, a map",
        "demo my_cifs/ -o demo --model small",
    )
    _add_source(demo, nargs="?", help="crystals, as for featurize (default: 288 prototype structures)")
    demo.add_argument(
        "-o", "--output", type=folder_to_write, metavar="FOLDER", default=Path("demo"), help="folder for the results"
    )
    _add_model(demo)
    _add_seed(demo, 0, "seed of the simulated measurements and of the map")


def _add_featurize(add: _Add) -> None:
    featurize = add(
        "featurize",
        commands.featurize,
        "write crystals into a store, from which models are trained",
        "featurize my_cifs/ -o store --disorder average",
    )
    _add_source(featurize)
    featurize.add_argument("-o", "--output", type=folder_to_write, metavar="FOLDER", required=True, help="new folder")
    _add_disorder(featurize)
    add_engine(featurize)


def _add_pretrain(add: _Add) -> None:
    pretrain = add(
        "pretrain",
        commands.pretrain,
        "train a model on the crystals of a store, without labels",
        "pretrain store -o model --preset joint --epochs 20\n"
        "  torchrun --nproc_per_node=4 -m deepchem_crystalssl pretrain store -o model   (four processes or GPUs, one\n"
        "      model; --batch-size is that of all of them together)",
    )
    pretrain.add_argument("store", type=Path, help="folder written by featurize")
    pretrain.add_argument(
        "-o",
        "--output",
        type=folder_to_write,
        metavar="FOLDER",
        required=True,
        help="folder for the model; a training that was interrupted continues there",
    )
    pretrain.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE.toml",
        help="settings; options given here replace those of the file (default: no file)",
    )
    pretrain.add_argument(
        "--preset",
        help="method of pretraining: joint, joint-measured, joint-measured-small, suzuki2022, kong2024, ... "
        "(default: joint)",
    )
    pretrain.add_argument("--epochs", type=whole_number(0), metavar="N", help="passes over the crystals (default: 20)")
    pretrain.add_argument(
        "--batch-size", type=whole_number(2), metavar="N", help="number of crystals in a training step (default: 256)"
    )
    pretrain.add_argument(
        "--learning-rate", type=number(above=0), metavar="X", help="highest learning rate (default: 0.003)"
    )
    pretrain.add_argument(
        "--validation",
        type=number(least=0, below=1),
        metavar="X",
        help="fraction of the crystals that is kept for validation, in whole chemical systems (default: 0.05)",
    )
    pretrain.add_argument(
        "--patience",
        type=count,
        metavar="N",
        help="stop after N epochs without a lower validation loss (default: never)",
    )
    pretrain.add_argument(
        "--conditions",
        choices=CONDITIONS[1:],
        help="measurement conditions of the simulated training patterns (default: those of the preset)",
    )
    pretrain.add_argument(
        "--instrument", action=Renamed, dest="conditions", choices=CONDITIONS[1:], help=argparse.SUPPRESS
    )
    pretrain.add_argument(
        "--mixed-precision",
        action="store_true",
        default=None,
        help="compute in 16 bits where that is safe (default: 32 bits)",
    )
    pretrain.add_argument(
        "--device", help="cpu, cuda, cuda:1, ... (default: cuda if there is one; with torchrun a GPU for each process)"
    )
    pretrain.add_argument(
        "--prepare-ahead",
        action=argparse.BooleanOptionalAction,
        help="simulate the patterns of the next step in a thread while the model computes (default: on a GPU only)",
    )
    _add_seed(pretrain, None, "seed of weights, batches and measurements (default: 0)")


def _add_embed(add: _Add) -> None:
    embed = add(
        "embed",
        commands.embed,
        "compute vectors of crystals by a trained model, and write them as a table",
        "embed my_cifs/ -o vectors.csv --space descriptor\n"
        "  crystalssl embed store -o vectors/ --space shared pattern --engine dask --address tcp://node1:8786",
    )
    _add_source(embed)
    embed.add_argument(
        "-o", "--output", type=table_or_folder, metavar="FILE|FOLDER/", required=True,
        help=".csv with a column for each dimension, or .parquet with a column of vectors; or a folder, for shards of "
        "Parquet that several workers write",
    )  # fmt: skip
    _add_model(embed)
    embed.add_argument(
        "--level", choices=("crystal", "site"), default="crystal", help="one vector for each crystal or for each site"
    )
    embed.add_argument(
        "--space",
        choices=SPACES,
        nargs="+",
        default=["shared"],
        help="shared: comparable with vectors of patterns; pattern: to be found by a measured pattern; "
        "descriptor: to predict properties from; similarity: to find similar crystals; into a folder also several",
    )
    embed.add_argument(
        "--layers",
        type=int,
        nargs="+",
        metavar="N",
        help="layers of the encoder whose vectors are joined; layer 0 knows a site, layer k also its neighbours within "
        "k hops (default: those of the space)",
    )
    embed.add_argument("--half", action="store_true", help="into a folder: store the numbers in 16 bits")
    _add_disorder(embed)
    add_engine(embed)


def _add_physics(add: _Add) -> None:
    physics = add(
        "physics",
        commands.physics,
        "compute vibrations, elasticity and electrons of crystals from springs and tight binding, and write them as a "
        "table; the numbers are those of a model, not measurements",
        "physics my_cifs/ -o physics.csv",
    )
    _add_source(physics)
    _add_table(physics, ".csv or .parquet, with a column for each number")
    physics.add_argument(
        "--models", choices=("springs", "electrons"), nargs="+", help="which of the two models (default: both)"
    )
    physics.add_argument(
        "--level", choices=("crystal", "site"), default="crystal", help="one row for each crystal or for each site"
    )
    _add_disorder(physics)


def _add_index(add: _Add) -> None:
    index = add(
        "index",
        commands.index,
        "build an index of crystals, for search, map and explore",
        "index my_cifs/ -o index --metadata properties.csv",
    )
    _add_source(index)
    index.add_argument("-o", "--output", type=folder_to_write, metavar="FOLDER", required=True, help="new folder")
    _add_model(index)
    index.add_argument(
        "--metadata",
        type=Path,
        metavar="TABLE",
        help=".csv or .parquet with a column material_id (for files: the name without suffix); its other columns are "
        "shown with the answers, can colour the map and can be filtered by in Python (default: none)",
    )
    index.add_argument(
        "--no-patterns",
        action="store_true",
        help="do not simulate powder patterns; the index can then not identify measured patterns",
    )
    index.add_argument(
        "--physics",
        action="store_true",
        help="add the columns model_gap_eV, model_highest_frequency_per_cm, model_bulk_modulus_GPa, "
        "model_shear_modulus_GPa and model_debye_temperature_K: values of springs and tight binding, not measurements; "
        "they can colour the map and can be filtered by in Python",
    )
    index.add_argument(
        "--space-groups",
        action="store_true",
        help="with an engine: find the space groups too, about 3 ms for a crystal; without one they are always found",
    )
    _add_disorder(index)
    add_engine(index, "; the index is then a sharded one, which stays on disk")


def _add_map(add: _Add) -> None:
    map = add(
        "map",
        commands.map,
        "draw the map of an index: pictures, and a page to explore it that works offline",
        "map index -o map --color band_gap Fe --format png svg",
    )
    map.add_argument(
        "index", type=Path, help="folder written by the command index; the positions on the map are saved there"
    )
    map.add_argument(
        "-o", "--output", type=folder_to_write, metavar="FOLDER", default=Path("map"), help="for the results"
    )
    map.add_argument(
        "--color",
        nargs="+",
        default=[],
        metavar="NAME",
        help="draw a picture for each of these: a column of the index, anion_class, crystal_system, or an "
        "element (default: the first column)",
    )
    map.add_argument(
        "--concept",
        action="append",
        default=[],
        type=concept,
        metavar="NAME=ID,ID,...",
        help="colour by similarity to a class that is given by examples (default: none)",
    )
    map.add_argument(
        "--format", nargs="+", default=["png"], choices=("png", "svg", "pdf"), help="formats of the pictures"
    )
    map.add_argument("--title", default="Map of materials", help="title of the page")
    map.add_argument(
        "--megabytes",
        type=float,
        metavar="X",
        default=60.0,
        help="largest size of the page; if it is exceeded, patterns are left out, and then structures",
    )
    _add_seed(map, None, "compute the positions again with this seed (default: keep those that are saved)")


def _add_explore(add: _Add) -> None:
    explore = add("explore", commands.explore, "open the map of an index in the browser", "explore index --port 8080")
    explore.add_argument("index", type=Path, help="folder written by the command index")
    explore.add_argument(
        "--port", type=int, metavar="N", default=8000, help="port; if it is taken, the next free one; 0 takes any"
    )
    explore.add_argument("--host", default="127.0.0.1", help="address to listen on")
    explore.add_argument("--allow-remote", action="store_true", help="let other computers in; there are no passwords")
    explore.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_evaluate(add: _Add) -> None:
    evaluate = add(
        "evaluate",
        commands.evaluate,
        "measure what a model has learned, compared with random weights and other controls",
        "evaluate model test_store --labels gaps.csv -o measures.csv",
    )
    evaluate.add_argument("model", help="folder of the model, or name of one that comes with the package")
    evaluate.add_argument("store", type=Path, help="folder written by featurize, of crystals the model has not seen")
    evaluate.add_argument(
        "--conditions",
        choices=CONDITIONS,
        default="none",
        help="measurement conditions of the simulated patterns that are looked up; none: ideal patterns",
    )
    evaluate.add_argument("--instrument", action=Renamed, dest="conditions", choices=CONDITIONS, help=argparse.SUPPRESS)
    evaluate.add_argument(
        "--labels",
        type=Path,
        metavar="TABLE",
        help=".csv or .parquet with a column material_id; its numeric columns are predicted from the "
        "vectors (default: none)",
    )
    evaluate.add_argument(
        "-o",
        "--output",
        type=file_to_write(".csv"),
        metavar="FILE.csv",
        help="also write the table to this file (default: print it only)",
    )
