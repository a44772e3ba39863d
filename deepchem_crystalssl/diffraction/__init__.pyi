from .conditions import Instrument as Instrument, measure_patterns as measure_patterns
from .grid import XRDGrid as XRDGrid
from .measured import prepare_measured_pattern as prepare_measured_pattern
from .simulation import iterate_patterns as iterate_patterns, simulate_xrd as simulate_xrd
