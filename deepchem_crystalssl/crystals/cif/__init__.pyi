from .reading import read_cif as read_cif
from .writing import write_cif_text as write_cif_text
