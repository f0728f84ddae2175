"""``python -m thoth_models_builder``: the command line, for environments whose scripts are not on the path."""

import sys

from thoth_models_builder.cli.main import main

sys.exit(main())
