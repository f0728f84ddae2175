#!/usr/bin/env bash
# Makes the images of ./bundle and pushes them to IMAGE: TAG is what services are built FROM, TAG-data has the models
# alone, TAG-modelpack is the artifact. Tells their digests as outputs of the step.
set -euo pipefail

name=${IMAGE,,} # registries take lower case only
labels=(
    --label "org.opencontainers.image.source=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
    --label "org.opencontainers.image.revision=$GITHUB_SHA"
    --label "org.opencontainers.image.version=$TAG"
)

# Makes thoth-models-runtime, and puts the models on it in the engine: what is pushed below must answer there first.
python docker/load.py bundle --required --to docker:thoth-models-candidate:latest
docker run --rm --network none --read-only --cap-drop ALL thoth-models-candidate:latest thoth-models doctor

push() {
    local output=$1 reference=$2
    shift 2
    thoth-bundle image bundle --to "registry:$reference" "${labels[@]}" "$@" --json >"$output.json"
    cat "$output.json"
    python -c 'import json, sys; print(sys.argv[1] + "=sha256:" + json.load(sys.stdin)["digest"])' "$output" \
        <"$output.json" >>"$GITHUB_OUTPUT"
}

push base "$name:$TAG" --base docker:thoth-models-runtime
push data "$name:$TAG-data"
push modelpack "$name:$TAG-modelpack" --format modelpack
printf 'name=%s\n' "$name" >>"$GITHUB_OUTPUT"
