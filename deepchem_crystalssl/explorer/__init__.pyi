from .chemiscope import write_chemiscope as write_chemiscope
from .document import (
    StructureView as StructureView,
    keep_mapped as keep_mapped,
    open_mapped as open_mapped,
    write_map as write_map,
    write_page as write_page,
)
from .widget import MapWidget as MapWidget
