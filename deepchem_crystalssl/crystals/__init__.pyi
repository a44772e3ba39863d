from .checking import CheckedCrystal as CheckedCrystal, check_files as check_files
from .duplicates import invariants as invariants
from .neighbors import (
    enumerate_graphs as enumerate_graphs,
    iterate_graphs as iterate_graphs,
    structures_to_graphs as structures_to_graphs,
)
from .prototypes import bundled_prototypes as bundled_prototypes
from .reading import read_structures as read_structures
from .records import Crystal as Crystal, CrystalGraph as CrystalGraph, Occupancies as Occupancies
from .store import RecordStore as RecordStore, write_records as write_records
from .formats.tables import as_ids as as_ids, id_column as id_column, read_table as read_table, table_ids as table_ids
from .validation import make_crystal as make_crystal
