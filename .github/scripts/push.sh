#!/usr/bin/env bash
# Pushes the images of ./bundle to IMAGE: TAG is the base for services, TAG-data has only the models, TAG-modelpack is
# the artifact. The first two are indexes over linux/amd64 and linux/arm64; runtime-*.tar are the bases that base_image.sh
# saved. Each has its bill of materials in a file beside them. Digests are outputs of the step; digests.py describes them.
set -euo pipefail

name=${IMAGE,,} # registries take lower case only
labels=(
    --label "org.opencontainers.image.source=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY"
    --label "org.opencontainers.image.revision=$GITHUB_SHA"
    --label "org.opencontainers.image.version=$TAG"
)

bases=()
for architecture in amd64 arm64; do
    docker load --input "runtime-$architecture.tar"
    bases+=(--base "docker:thoth-models-runtime:$architecture")
done

push() {
    local output=$1 reference=$2
    shift 2
    thoth-bundle image bundle --to "registry:$reference" "${labels[@]}" --sbom "$output.cdx.json" "$@" --json >"$output.json"
    cat "$output.json"
}

push base "$name:$TAG" "${bases[@]}"
push data "$name:$TAG-data"
push modelpack "$name:$TAG-modelpack" --format modelpack
printf 'name=%s\n' "$name" >>"$GITHUB_OUTPUT"
python .github/scripts/digests.py base.json data.json modelpack.json >>"$GITHUB_OUTPUT"
