#!/usr/bin/env bash
# Builds the runtime base image for this machine's platform, with the wheel of dist/, and saves it as
# runtime-ARCHITECTURE.tar. With the models of ./bundle on top, every variant must give its golden vectors first, on a
# processor of this platform.
set -euo pipefail

wheels=(./dist/thoth_models-*.whl)
if [ ${#wheels[@]} -ne 1 ] || [ ! -f "${wheels[0]}" ]; then
    echo "expected one wheel of thoth-models in dist/, found ${wheels[*]}" >&2
    exit 1
fi

# Builds thoth-models-runtime, and loads it with the models into the engine.
python docker/load.py bundle --required --requirement "${wheels[0]}[onnx]" --to docker:thoth-models-candidate:latest
docker run --rm --network none --read-only --cap-drop ALL thoth-models-candidate:latest thoth-models doctor --all
docker tag thoth-models-runtime "thoth-models-runtime:$ARCHITECTURE"
docker save --output "runtime-$ARCHITECTURE.tar" "thoth-models-runtime:$ARCHITECTURE"
