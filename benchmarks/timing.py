"""Time several contenders side by side, on the same items, in turns, by the CPU seconds of this process."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable


def compare(contenders: dict[str, tuple[Callable, list]], ours: str, rounds: int = 3, unit: str = "structures") -> dict:
    """Print items per CPU second of each contender, and how many times faster ours is.

    Each contender comes with its own items (a slow one may be given fewer); the rounds are interleaved, so that
    a change of the machine's pace meets all alike, and the median counts.
    """
    for function, items in contenders.values():
        function(items[:3])  # compile, import, fill caches
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (function, items) in contenders.items():
            gc.collect()
            gc.disable()  # as timeit does: collecting one contender's garbage is not another's work
            start = time.process_time()
            function(items)
            rates[name].append(len(items) / (time.process_time() - start))
            gc.enable()
    median = {name: statistics.median(values) for name, values in rates.items()}
    width = max(map(len, median))
    print(f"{'':{width}}  {unit}/CPU-s   {ours} is faster by")
    for name, rate in median.items():
        ratio = "" if name == ours else f"{median[ours] / rate:10.1f} x"
        print(f"{name:{width}}  {rate:13,.1f}   {ratio}")
    print()
    return median
