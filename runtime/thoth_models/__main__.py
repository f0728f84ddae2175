"""``python -m thoth_models``: the command line, for environments whose scripts are not on the path."""

import sys

from thoth_models.cli.main import main

sys.exit(main())
