# ruff: noqa: INP001 - a script of a workflow, not part of a package
"""Print the outputs of the step that pushed: ``digests.py base.json data.json modelpack.json``.

Each file is what ``thoth-bundle image --json`` printed. ``base`` is the digest of the first, ``images`` a JSON array of
the image or index of each and of the images in an index, with name, digest and file of the bill of materials, and
``digests`` all of their digests.
"""

import json
import sys
from pathlib import Path

images = []
for path in map(Path, sys.argv[1:]):
    report = json.loads(path.read_text(encoding="utf-8"))
    bill = f"{path.stem}.cdx.json"
    images.append({"name": path.stem, "digest": f"sha256:{report['digest']}", "sbom": bill})
    for manifest in report["manifests"]:
        if manifest["platform"] and len(report["manifests"]) > 1:
            architecture = manifest["platform"].split("/")[1]
            digest = f"sha256:{manifest['digest']}"
            images.append({"name": f"{path.stem}-{architecture}", "digest": digest, "sbom": bill})
print(f"base={images[0]['digest']}")  # noqa: T201 - read by the runner, as the next lines
print(f"images={json.dumps(images)}")  # noqa: T201
print(f"digests={' '.join(image['digest'] for image in images)}")  # noqa: T201
