"""The command ``crystalssl``: each subcommand is one call."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from . import __version__
from .errors import CrystalInputError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options)
    except CrystalInputError as error:
        print(f"crystalssl: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser("crystalssl", description="Self-supervised learning on crystals.")
    parser.add_argument("--version", action="version", version=f"crystalssl {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="what a trained model knows of crystals: neighbours, patterns, the map")
    demo.add_argument("source", nargs="?", help="file, folder, glob or table of crystals (default: 288 prototypes)")
    demo.add_argument("-o", "--output", type=Path, default=Path("demo"), help="folder for the results")
    demo.add_argument("--model", help="shipped name, or folder of a trained model (default: the general model)")
    demo.add_argument("--seed", type=int, default=0)
    demo.set_defaults(run=_demo)

    featurize = commands.add_parser("featurize", help="write crystals into a store on disk, resumable")
    featurize.add_argument("source", help="file, folder, glob or table of crystals")
    featurize.add_argument("-o", "--output", type=Path, required=True, help="folder of the store")
    featurize.add_argument("--disorder", choices=("refuse", "dominant", "average"), default="refuse")
    featurize.set_defaults(run=_featurize)

    pretrain = commands.add_parser("pretrain", help="train a model on a store, resumable")
    pretrain.add_argument("store", type=Path, help="folder written by featurize")
    pretrain.add_argument("-o", "--output", type=Path, required=True, help="folder of the model")
    pretrain.add_argument("--recipe", type=Path, help="TOML or YAML file of settings; options given here go first")
    pretrain.add_argument("--preset", help="joint (default), general, small, suzuki2022, kong2024, ...")
    pretrain.add_argument("--epochs", type=int)
    pretrain.add_argument("--batch-size", type=int)
    pretrain.add_argument("--learning-rate", type=float)
    pretrain.add_argument("--validation", type=float, help="share of crystals to measure on, by chemical system")
    pretrain.add_argument("--patience", type=int, help="epochs without progress before stopping")
    pretrain.add_argument(
        "--instrument", help="patterns to train on: clean, realistic, hard, training (default: the preset's)"
    )
    pretrain.add_argument("--mixed-precision", action="store_true", default=None)
    pretrain.add_argument("--device")
    pretrain.add_argument("--seed", type=int)
    pretrain.set_defaults(run=_pretrain)

    embed = commands.add_parser("embed", help="vectors of crystals by a trained model, as a Parquet table")
    embed.add_argument("source", help="file, folder, glob or table of crystals")
    embed.add_argument("-o", "--output", type=Path, required=True, help="Parquet file")
    embed.add_argument("--model", help="shipped name, or folder of a trained model (default: the general model)")
    embed.add_argument("--level", choices=("crystal", "site"), default="crystal")
    embed.add_argument(
        "--space",
        choices=("shared", "pattern", "descriptor", "similarity"),
        default="shared",
        help="vectors to meet patterns, to be found by measured ones, to predict from, or to find what is alike",
    )
    embed.add_argument("--layers", type=int, nargs="+", help="layers to join instead, 0 is the element")
    embed.add_argument("--disorder", choices=("refuse", "dominant", "average"), default="refuse")
    embed.set_defaults(run=_embed)

    index = commands.add_parser("index", help="an index of crystals, to be searched; resumable")
    index.add_argument("source", help="file, folder, glob or table of crystals")
    index.add_argument("-o", "--output", type=Path, required=True, help="folder of the index")
    index.add_argument("--model", help="shipped name, or folder of a trained model (default: the general model)")
    index.add_argument("--metadata", type=Path, help="CSV or Parquet with a column material_id: more to filter by")
    index.add_argument("--no-patterns", action="store_true", help="no measured patterns will be looked for")
    index.add_argument("--disorder", choices=("refuse", "dominant", "average"), default="refuse")
    index.set_defaults(run=_index)

    search = commands.add_parser("search", help="what is like a crystal, or of what a measured pattern may be")
    search.add_argument("query", nargs="+", help="ids, formulas, files of crystals; or one measured pattern (.xy, ...)")
    search.add_argument("--index", type=Path, required=True, help="folder written by index")
    search.add_argument("-k", type=int, default=10, help="answers")
    search.add_argument("--unlike", nargs="+", default=[], help="and not like these")
    search.add_argument("--elements", type=_symbols, default=(), metavar="Fe,O",
                        help="elements of the crystal; of a pattern: the sample has no others")  # fmt: skip
    search.add_argument("--without", type=_symbols, default=(), metavar="Pb,Hg", help="elements the crystal has not")
    search.add_argument("--only", type=_symbols, metavar="Fe,O", help="the crystal has no others")
    search.add_argument("--space-group", type=int, nargs="+", help="numbers, if the index knows them")
    search.add_argument("--sites", type=int, nargs=2, metavar=("FROM", "TO"), help="in the cell")
    search.add_argument(
        "--wavelength", type=_radiation, help="of the pattern: CuKa (default), MoKa1, ... or in Angstrom"
    )
    search.add_argument("--picture", type=Path, help="write measured, calculated and difference curves")
    search.add_argument("-o", "--output", type=Path, help="write the table as CSV too")
    search.set_defaults(run=_search)

    map = commands.add_parser("map", help="the map of an index: pictures, and a page to explore that works offline")
    map.add_argument("index", type=Path, help="folder written by index; the map is kept there")
    map.add_argument("-o", "--output", type=Path, default=Path("map"), help="folder for map.html and the pictures")
    map.add_argument("--color", nargs="+", default=[], metavar="NAME",
                     help="a picture for each: a column, anion_class, crystal_system, or an element")  # fmt: skip
    map.add_argument("--concept", action="append", default=[], type=_concept, metavar="NAME=ID,ID,...",
                     help="colour by likeness to a class of which some examples are given")  # fmt: skip
    map.add_argument("--format", nargs="+", default=["png"], choices=("png", "svg", "pdf"))
    map.add_argument("--title", default="Map of materials")
    map.add_argument("--megabytes", type=float, default=60.0, help="what the page may weigh")
    map.add_argument("--seed", type=int, help="lay the map out anew, from this seed")
    map.set_defaults(run=_map)

    explore = commands.add_parser("explore", help="the map in the browser, and a place to drop a CIF or a pattern")
    explore.add_argument("index", type=Path, help="folder written by index")
    explore.add_argument("--port", type=int, default=8000, help="0 is any that is free")
    explore.add_argument("--host", default="127.0.0.1")
    explore.add_argument("--allow-remote", action="store_true", help="let other computers in; there are no passwords")
    explore.add_argument("--no-browser", action="store_true", help="only print the address")
    explore.set_defaults(run=_explore)

    models = commands.add_parser("models", help="list the models that came with the package")
    models.set_defaults(run=_models)

    evaluate = commands.add_parser("evaluate", help="measure a model on a store, beside controls")
    evaluate.add_argument("model", type=Path, help="folder of the model")
    evaluate.add_argument("store", type=Path, help="folder written by featurize; crystals the model has not seen")
    evaluate.add_argument("--instrument", default="none", help="patterns to look up: none, clean, realistic, hard")
    evaluate.add_argument("--labels", type=Path, help="CSV with a column material_id; the others are probed")
    evaluate.add_argument("-o", "--output", type=Path, help="write the table as CSV too")
    evaluate.set_defaults(run=_evaluate)
    return parser


def _featurize(options: argparse.Namespace) -> int:
    from .data.datasets import CrystalStore

    store = CrystalStore.write(options.source, options.output, disorder=options.disorder)
    size = sum(path.stat().st_size for path in options.output.glob("*.arrow")) / len(store)
    print(f"{len(store)} crystals in {options.output}/, {size:.0f} bytes each; skipped.csv names what was left out")
    return 0


def _pretrain(options: argparse.Namespace) -> int:
    from .recipes import RECIPE, pretrain, read_recipe

    recipe = read_recipe(options.recipe) if options.recipe else {}
    recipe |= {name: value for name, value in vars(options).items() if name in RECIPE and value is not None}
    model, numbers = pretrain(options.store, options.output, **recipe)
    for name, value in numbers.items():
        print(f"{name:20s} {value:.4f}")
    print(f"{len(model.left_out)} crystals left out; model and training_log.jsonl in {options.output}/")
    return 0


def _embed(options: argparse.Namespace) -> int:
    from .recipes import embed_table

    table, report = embed_table(
        options.source,
        options.model,
        level=options.level,
        layers=options.layers,
        space=options.space,
        disorder=options.disorder,
    )
    table.to_parquet(options.output, index=False)
    print(f"{len(table)} vectors in {options.output}; {report.summary()}")
    return 0


def _symbols(text: str) -> tuple[str, ...]:
    return tuple(symbol.strip() for symbol in text.split(",") if symbol.strip())


def _radiation(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _index(options: argparse.Namespace) -> int:
    from .recipes import read_labels
    from .search import build_index

    metadata = read_labels(options.metadata).reset_index() if options.metadata else None
    index = build_index(
        options.source, options.output, options.model, metadata,
        patterns=not options.no_patterns, disorder=options.disorder,
    )  # fmt: skip
    size = sum(path.stat().st_size for path in options.output.rglob("*") if path.is_file()) / 1e6
    print(f"{len(index)} crystals in {options.output}/, {size:.0f} MB; skipped.csv names what was left out")
    return 0


def _search(options: argparse.Namespace) -> int:
    from .diffraction.measured import PATTERN_SUFFIXES
    from .search import Answers, EmbeddingIndex, Filter

    index = EmbeddingIndex.load(options.index)
    is_pattern = Path(options.query[0]).suffix.lower() in PATTERN_SUFFIXES
    filter = Filter(
        elements=() if is_pattern else options.elements,
        without=options.without,
        only=options.only or (options.elements or None if is_pattern else None),
        n_sites=tuple(options.sites) if options.sites else None,
        space_group=options.space_group,
    )
    found: Answers
    if is_pattern:
        found = matches = index.query_pattern(options.query[0], None, options.wavelength, options.k, filter=filter)
        print(matches.verdict)
        if options.picture:
            matches.plot().savefig(options.picture, dpi=150)
    else:
        found = index.query(options.query, options.k, unlike=options.unlike, filter=filter)
    print(found)
    if options.output:
        found.to_frame().to_csv(options.output, index=False)
    return 0


def _concept(text: str) -> tuple[str, list[str]]:
    name, _, examples = text.partition("=")
    if not name or not examples:
        raise argparse.ArgumentTypeError(f"{text!r}: a concept is NAME=ID,ID,...")
    return name, [example.strip() for example in examples.split(",")]


def _map(options: argparse.Namespace) -> int:
    from .explorer import open_mapped, write_map
    from .search import likeness

    index = open_mapped(options.index, options.seed)
    for name, examples in options.concept:
        index.table[name] = likeness(index, examples)
    colors = [*options.color, *(name for name, _ in options.concept)]
    for path in write_map(index, options.output, colors, options.format, options.title, options.megabytes):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _explore(options: argparse.Namespace) -> int:
    import webbrowser

    from .explorer.server import explore

    def tell(address: str) -> None:
        print(f"{address}  (Ctrl+C ends it)", flush=True)
        if not options.no_browser:
            webbrowser.open(address)

    explore(options.index, options.host, options.port, allow_remote=options.allow_remote, on_start=tell)
    return 0


def _models(options: argparse.Namespace) -> int:
    from .models.pretrained import list_pretrained

    print(list_pretrained().to_string(index=False))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from .recipes import evaluate, read_labels

    labels = read_labels(options.labels) if options.labels else None
    table = evaluate(options.model, options.store, options.instrument, labels)
    print(table.to_string(float_format="{:.3f}".format, na_rep=""))
    print(f"{table.attrs['crystals']} crystals, {table.attrs['duplicates']} of them duplicates; 95 % intervals")
    if options.output:
        table.to_csv(options.output)
    return 0


def _demo(options: argparse.Namespace) -> int:
    from .demo import run_demo, well_known_neighbors

    metrics = run_demo(options.source, options.output, options.model, options.seed)
    for name, formula, nearest in well_known_neighbors(options.output):
        print(f"{formula} ({name}) is like {', '.join(nearest)}")
    print(
        f"{metrics['crystals']:.0f} crystals, {metrics['left out']:.0f} left out\n"
        "finding a crystal by its powder pattern, as measured:\n"
        f"  pretrained      recall@1 {metrics['recall@1']:.3f}   recall@10 {metrics['recall@10']:.3f}\n"
        f"  random weights  recall@1 {metrics['random recall@1']:.3f}   "
        f"recall@10 {metrics['random recall@10']:.3f}\n"
        f"{metrics['seconds']:.0f} s; map.png, pattern.png, neighbors.csv, embeddings.parquet, skipped.csv in "
        f"{options.output}/"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
