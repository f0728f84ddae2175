"""``python -m thoth_models_builder``: the command line, where its script is not on the path."""

import sys

from thoth_models_builder.cli import main

sys.exit(main())
