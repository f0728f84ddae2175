"""``python -m thoth_models``: the command line, where its script is not on the path."""

import sys

from thoth_models.cli import main

sys.exit(main())
