#!/usr/bin/env bash
# The first half of action.yml: an environment of its own for the builder, at the versions of this revision.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
environment=$RUNNER_TEMP/thoth-models/environment
"$PYTHON" -m venv "$environment"
pip=("$environment/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt")
if [ -n "$TORCH_INDEX" ]; then
    # torch alone from there: a second index beside pip's own could serve any other package as well.
    "${pip[@]}" --index-url "$TORCH_INDEX" torch
fi
"${pip[@]}" "$root/runtime" "$root/builder[compile,sbom]"
