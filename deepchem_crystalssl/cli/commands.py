"""The subcommands: each calls one function of the package and prints what it did."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bulk_options import is_sharded, of_shards
from ..errors import OptionError, Report, counted

if TYPE_CHECKING:
    from ..search import EmbeddingIndex, Filter, ShardedIndex
    from ..search.pictures import Picture

_MOST_LINES = 50  # crystals that check tells of; a table has all


def demo(options: argparse.Namespace) -> int:
    from ..demo import run_demo, well_known_neighbors

    metrics = run_demo(options.source, options.output, options.model, options.seed, _progress(options))
    for name, formula, nearest in well_known_neighbors(options.output):
        print(f"{formula} ({name}) is similar to {', '.join(nearest)}")
    print(
        f"{counted(int(metrics['crystals']), 'crystal')}, {metrics['left out']:.0f} left out\n"
        "finding a crystal by its powder pattern, as measured:\n"
        f"  pretrained      recall@1 {metrics['recall@1']:.3f}   recall@10 {metrics['recall@10']:.3f}\n"
        f"  random weights  recall@1 {metrics['random recall@1']:.3f}   "
        f"recall@10 {metrics['random recall@10']:.3f}\n"
        f"{metrics['seconds']:.0f} s; map.png, pattern.png, neighbors.csv, embeddings.parquet, skipped.csv in "
        f"{options.output}/"
    )
    return 0


def featurize(options: argparse.Namespace) -> int:
    from ..crystals.store import RecordStore, write_records

    if is_sharded(options):
        from ..bulk import Featurize, map_shards

        step = Featurize(options.disorder)
        if map_shards(options.source, step, options.output, **of_shards(options, _progress(options))) is None:
            return _share_done(options)
    else:
        write_records(options.source, options.output, disorder=options.disorder, progress=_progress(options))
    store = RecordStore(options.output)
    size = sum(path.stat().st_size for path in options.output.glob("*.arrow")) / len(store)
    print(
        f"{counted(len(store), 'crystal')} in {options.output}/, {size:.0f} bytes each; "
        "skipped.csv lists any left out"
    )
    return 0


def pretrain(options: argparse.Namespace) -> int:
    from ..models.processes import leave_processes
    from ..nn.ranks import Ranks
    from ..recipes import RECIPE, pretrain, read_recipe

    recipe = read_recipe(options.recipe) if options.recipe else {}
    recipe |= {name: value for name, value in vars(options).items() if name in RECIPE and value is not None}
    model, numbers = pretrain(options.store, options.output, _progress(options), **recipe)
    if Ranks.here().rank == 0:
        for name, value in numbers.items():
            print(f"{name:20s} {value:.4f}")
        print(f"{counted(len(model.left_out), 'crystal')} left out; model and training_log.jsonl in {options.output}/")
    leave_processes()
    return 0


def embed(options: argparse.Namespace) -> int:
    from ..recipes import embed_table, write_vectors

    if options.output.suffix not in (".csv", ".parquet") or is_sharded(options):
        return _embed_shards(options)
    if len(options.space) > 1 or options.half:
        raise OptionError("--half" if options.half else "--space", "given for one table",
                          "several spaces and half precision are for shards",
                          "Name a folder as the output.")  # fmt: skip
    table, report = embed_table(
        options.source,
        options.model,
        level=options.level,
        layers=options.layers,
        space=options.space[0],
        disorder=options.disorder,
        progress=_progress(options),
    )
    write_vectors(table, options.output)
    print(f"{counted(len(table), 'vector')} in {options.output}; {report.summary()}")
    return 0


def _embed_shards(options: argparse.Namespace) -> int:
    from ..bulk import Embed, map_shards

    if options.level != "crystal" or options.layers:
        raise OptionError("--level" if options.layers is None else "--layers", "given for shards",
                          "shards hold vectors of whole crystals", "Name a .parquet file as the output.")  # fmt: skip
    if options.output.suffix in (".csv", ".parquet"):
        raise OptionError("--output", str(options.output), "shards are written to a folder", "Name a folder.")
    step = Embed(options.model, tuple(dict.fromkeys(options.space)), options.disorder, options.half)
    done = map_shards(options.source, step, options.output, **of_shards(options, _progress(options)))
    if done is None:
        return _share_done(options)
    shards, left_out = counted(len(done.files), "shard"), done.report.summary()
    print(f"{counted(len(done), 'vector')} in {shards} in {options.output}/; {left_out}")
    return 0


def _share_done(options: argparse.Namespace) -> int:
    number, total = options.shard
    print(f"share {number} of {total} is done in {options.output}/")
    return 0


def physics(options: argparse.Namespace) -> int:
    from ..physics.columns import MODELS
    from ..recipes import physics_table

    rows = physics_table(
        options.source,
        options.output,
        options.models or MODELS,
        level=options.level,
        disorder=options.disorder,
        progress=_progress(options),
    )
    print(f"{counted(rows, 'row')} in {options.output}; {options.output.name}.skipped.csv lists any left out")
    return 0


def index(options: argparse.Namespace) -> int:
    from ..crystals.store import open_source
    from ..crystals.formats.tables import read_table
    from ..search import build_index

    if is_sharded(options):
        return _index_shards(options)
    index = build_index(
        open_source(options.source),
        options.output,
        options.model,
        read_table(options.metadata) if options.metadata else None,
        patterns=not options.no_patterns,
        physics=options.physics,
        disorder=options.disorder,
        progress=_progress(options),
    )
    size = sum(path.stat().st_size for path in options.output.rglob("*") if path.is_file()) / 1e6
    print(f"{counted(len(index), 'crystal')} in {options.output}/, {size:.1f} MB; skipped.csv lists any left out")
    if options.physics:
        print("the columns model_... hold values of models; without_physics.csv lists crystals that have none")
    return 0


def _index_shards(options: argparse.Namespace) -> int:
    from ..crystals.formats.tables import read_table
    from ..search import ShardedIndex

    if options.physics:
        raise OptionError("--physics", "given with an engine", "a sharded index has no values of models",
                          "Compute them with crystalssl physics, and give the table as --metadata.")  # fmt: skip
    index = ShardedIndex.build(
        options.source, options.output, options.model, read_table(options.metadata) if options.metadata else None,
        patterns=not options.no_patterns, space_groups=options.space_groups, disorder=options.disorder,
        **of_shards(options, _progress(options)),
    )  # fmt: skip
    if index is None:
        print("when all shares are done, run the command without --shard once, to join them")
        return _share_done(options)
    size = sum(path.stat().st_size for path in options.output.rglob("*") if path.is_file()) / 1e6
    print(f"{counted(len(index), 'crystal')} in {options.output}/, {size:.1f} MB; {index.report.summary()}")
    return 0


def search(options: argparse.Namespace) -> int:
    from ..crystals.formats.tables import write_csv
    from ..diffraction.pattern_files import PATTERN_SUFFIXES
    from ..search import Filter
    from ..search.opening import open_index

    is_pattern = any(Path(query).suffix.lower() in PATTERN_SUFFIXES for query in options.query)
    _refuse_unused(options, is_pattern)
    index = open_index(options.index)
    filter = Filter(
        elements=() if is_pattern else options.elements,
        without=() if is_pattern else options.without,
        only=None if is_pattern else options.only,
        n_sites=tuple(options.sites) if options.sites else None,
        space_group=options.space_group,
    )
    if is_pattern:
        return _search_by_patterns(index, filter, options)
    found = index.query(options.query, options.k, unlike=options.unlike, filter=filter)
    print(found)
    if options.output:
        write_csv(found.to_frame(), options.output)
    return 0


def _search_by_patterns(index: EmbeddingIndex | ShardedIndex, filter: Filter, options: argparse.Namespace) -> int:
    """One pattern with its answers, or the phases of several."""
    from ..crystals.formats.tables import write_csv
    from ..crystals.work_folders import writing

    sample: dict[str, Any] = {
        "elements": options.elements or None, "allowed": options.only, "excluded": options.without, "filter": filter,
        "phases": options.phases,
    }  # fmt: skip
    if len(options.query) == 1:
        found = index.query_pattern(options.query[0], None, options.wavelength, options.k, **sample)
        for note in found.notes:
            print(f"{options.query[0]}: {note}")
        print(found.verdict)
        print(found)
        if options.report:
            found.report(options.report)
        if options.export:
            found.export(options.export)
        draw: Callable[[], Picture] = found.plot
        table, done = found.to_frame(), 0
    else:
        report = Report()
        several = index.query_patterns(
            sorted(options.query, key=_by_number), options.wavelength, options.k, on_error="skip", report=report,
            progress=_progress(options), **sample,
        )  # fmt: skip
        for name, answer in zip(several.names, several, strict=True):
            for note in answer.scan.notes if answer else ():
                print(f"{name}: {note}")
        print(several)
        for error in report:
            print(f"left out: {error}")
        draw = several.plot
        table, done = several.to_frame(), 1 if len(report) == len(several) else 0
    if options.picture:
        with writing(options.picture) as part:
            draw().savefig(part, dpi=150, format=options.picture.suffix.removeprefix("."))
    if options.output:
        write_csv(table, options.output)
    return done


def _by_number(name: str) -> list[str | int]:
    """Key that sorts names by the numbers in them: frame_2 before frame_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _refuse_unused(options: argparse.Namespace, is_pattern: bool) -> None:
    """Refuse a search with queries or options that would have no effect on its answers."""
    from ..diffraction.pattern_files import PATTERN_SUFFIXES

    others = [query for query in options.query if Path(query).suffix.lower() not in PATTERN_SUFFIXES]
    if is_pattern and others:
        raise OptionError("query", " ".join(others), "measured patterns are searched for without crystals",
                          "Run one search for the patterns, and another one for crystals.")  # fmt: skip
    for name in ("report", "export"):
        if is_pattern and len(options.query) > 1 and getattr(options, name):
            raise OptionError(f"--{name}", "given for several patterns", "one pattern is handed over at a time",
                              "Search for that pattern alone.")  # fmt: skip
    names = ("unlike",) if is_pattern else ("wavelength", "picture", "report", "export", "phases")
    given = [f"--{name}" for name in names if getattr(options, name)]
    if given:
        kind, other = ("pattern", "crystals") if is_pattern else ("crystal", "a measured pattern")
        raise OptionError(" and ".join(given), f"given for a search by {kind}",
                          f"the option has an effect only on a search by {other}", "Leave it out.")  # fmt: skip


def map(options: argparse.Namespace) -> int:
    from ..crystals.work_folders import check_output
    from ..explorer import keep_mapped, write_map
    from ..search import EmbeddingIndex, likeness
    from ..search.opening import check_is_index, is_sharded as is_sharded_index

    check_is_index(options.index)
    for path in options.output.glob("map*"):
        if path.suffix.removeprefix(".") in ("html", *options.format):
            check_output(path)
    if is_sharded_index(options.index):
        return _map_of_sample(options)
    index = EmbeddingIndex.load(options.index)
    for name, examples in options.concept:
        index.table[name] = likeness(index, examples)
    colors = [*options.color, *(name for name, _ in options.concept)]
    keep_mapped(index, options.index, options.seed, colors)
    written = write_map(
        index, options.output, colors, options.format, options.title, options.megabytes, _progress(options)
    )
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return 0


def _map_of_sample(options: argparse.Namespace) -> int:
    """The map of an index that is too large to be laid out: a page of a sample, and a picture of all by density."""
    from ..crystals.work_folders import writing
    from ..explorer import write_map
    from ..search import ShardedIndex, likeness
    from ..search.pictures import draw_density
    from ..search.sharded_map import place_all, sample_of

    crystals, sample = len(ShardedIndex.load(options.index)), sample_of(options.index, options.seed)
    for name, examples in options.concept:
        sample.table[name] = likeness(sample, examples)
    part = f"{len(sample):,} of {crystals:,} crystals, chosen at random" if len(sample) < crystals else ""
    title = f"{options.title} ({part})" if part else options.title
    colors = [*options.color, *(name for name, _ in options.concept)]
    written = write_map(sample, options.output, colors, options.format, title, options.megabytes, _progress(options))
    picture = draw_density(place_all(options.index, sample, _progress(options)))
    for format in options.format:
        written.append(options.output / f"map_density.{format}")
        with writing(written[-1]) as file:
            picture.savefig(file, dpi=200, format=format)
    for path in written:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    print(f"the page shows {part or 'all crystals'}; map_density counts all {crystals:,}")
    return 0


def explore(options: argparse.Namespace) -> int:
    import webbrowser

    from ..explorer.server import explore
    from ..search.opening import is_sharded as is_sharded_index

    if is_sharded_index(options.index):
        print("the map shows a sample of the crystals, chosen at random", flush=True)

    def tell(address: str) -> bool:
        print(f"{address}  (Ctrl+C ends it)", flush=True)
        return not options.no_browser and webbrowser.open(address)

    explore(options.index, options.host, options.port, allow_remote=options.allow_remote, on_start=tell)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    from ..crystals.formats.tables import write_csv
    from ..recipes import evaluate

    table = evaluate(options.model, options.store, options.conditions, options.labels)
    print(table.to_string(float_format="{:.3f}".format, na_rep=""))
    print(
        f"{counted(table.attrs['crystals'], 'crystal')}, {table.attrs['duplicates']} of them duplicates; 95 % intervals"
    )
    if options.output:
        write_csv(table, options.output, index=True)
    return 0


def verify(options: argparse.Namespace) -> int:
    from ..recipes.verification import verify_folder

    found = verify_folder(options.folder)
    damaged = [file for file in found if file.result == "damaged"]
    for file in damaged:
        print(f"damaged: {file.path}\n  {file.reason}")
    without = sum(file.result == "no checksum" for file in found)
    told = f"; {without} without a checksum, of an earlier version" if without else ""
    print(f"{counted(len(found), 'file')} read, {len(damaged)} damaged{told}")
    return 3 if damaged else 0


def check(options: argparse.Namespace) -> int:
    from ..crystals.formats.tables import write_csv
    from ..crystals.checking import check_files, summary_of, to_table

    limits = {"seconds": options.seconds, "memory_bytes": int(options.megabytes * 2**20)}
    checked = list(check_files(options.source, **limits, progress=_progress(options)))
    told = [one for one in checked if one.outcome != "read"]
    for one in told[:_MOST_LINES]:
        print(f"{one.outcome}: {one.file}" + (f" ({one.crystal})" if one.outcome != "refused" else ""))
        for text in one.said:
            print(f"  {text}")
    if len(told) > _MOST_LINES:
        print(f"and {len(told) - _MOST_LINES} more; " + ("the table has all" if options.output else "-o lists all"))
    print(summary_of(checked))
    if options.output:
        write_csv(to_table(checked), options.output)
    return 3 if told else 0


def models(options: argparse.Namespace) -> int:
    from ..models.pretrained import list_pretrained

    print(list_pretrained().to_string(index=False))
    return 0


def _progress(options: argparse.Namespace) -> bool | None:
    return False if options.quiet else None
