"""``python -m deepchem_crystalssl`` is the command ``crystalssl``."""

import sys

from .cli import main

sys.exit(main())
