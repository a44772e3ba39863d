from .conditions import MeasurementConditions as MeasurementConditions, measure_patterns as measure_patterns
from .grid import PowderPatterns as PowderPatterns, XRDGrid as XRDGrid, on_grid as on_grid
from .measured import prepare_measured_pattern as prepare_measured_pattern
from .pattern_files import read_pattern as read_pattern, read_pattern_bytes as read_pattern_bytes
from .patterns import MeasuredPattern as MeasuredPattern
from .simulation import iterate_patterns as iterate_patterns, simulate_xrd as simulate_xrd
