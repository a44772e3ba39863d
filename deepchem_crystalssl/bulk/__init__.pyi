from .output import ShardedOutput as ShardedOutput
from .shards import map_shards as map_shards
from .steps import (
    Embed as Embed,
    Featurize as Featurize,
    SimulatePatterns as SimulatePatterns,
    Step as Step,
    Work as Work,
    compute_table as compute_table,
)
