"""``python -m deepchem_crystalssl.cli`` is the command ``crystalssl``."""

import sys

from . import main

sys.exit(main())
