#!/usr/bin/env bash
# Builds the images of ./bundle and pushes them to IMAGE: TAG is the base for services, TAG-data has only the models,
# TAG-modelpack is the artifact. Their digests are outputs of the step.
set -euo pipefail

name=${IMAGE,,} # registries take lower case only
labels=(
    --label "org.opencontainers.image.source=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
    --label "org.opencontainers.image.revision=$GITHUB_SHA"
    --label "org.opencontainers.image.version=$TAG"
)

# Builds thoth-models-runtime, and loads it with the models into the engine, where it must answer before it is pushed.
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
