"""The documentation site: `nox -s docs` builds it into ./site. docs/decisions/ has the reasons for what is used."""

import os
import sys
from pathlib import Path

import thoth_models

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")  # its adapter is imported for the reference

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# The one setting of a hosted site: the repository that its pages link to, such as https://github.com/you/thoth-models,
# and the commit, tag or branch there. Without it, the names of files in the repository are text and not links.
REPOSITORY_URL = os.environ.get("REPOSITORY_URL", "").rstrip("/")
REPOSITORY_REVISION = os.environ.get("REPOSITORY_REVISION", "main")

project = "thoth-models"
release = version = thoth_models.__version__
html_title = f"thoth-models {release}"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "tools.site.command_help",
    "tools.site.navigation",
    "tools.site.repository_links",
]
repository_root = str(ROOT)
repository_url = REPOSITORY_URL
repository_revision = REPOSITORY_REVISION

# Pages are plain Markdown, as hosting sites show it: index.md and reference/ alone have directives.
myst_heading_anchors = 6

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"  # an attribute of a dataclass is described once
autodoc_mock_imports = ["thoth_qdrant"]  # in no environment of ours, see docs/adapters/thoth-qdrant.md
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = []
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
# The prompt of a console block is not copied, and neither is what a command prints.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

# `nox -s docs -- --external` asks every address that a page names.
linkcheck_timeout = 20
linkcheck_retries = 2
linkcheck_anchors = False  # pages of other sites make theirs with scripts
