#!/usr/bin/env bash
# The second half of action.yml: builds the bundle, then the images and the bill of materials that were requested.
set -euo pipefail

programs=$RUNNER_TEMP/thoth-models/environment/bin
thoth_bundle=$programs/thoth-bundle
export THOTH_STORE=$RUNNER_TEMP/thoth-models/store

build=("$thoth_bundle" build --file "$FILE" --output "$OUTPUT")
if [ -n "$LOCK" ]; then build+=(--lock "$LOCK"); fi
case $STRICT in
    true) build+=(--strict) ;;
    false) ;;
    *)
        echo "::error::strict: expected true or false, found '$STRICT'"
        exit 2
        ;;
esac
"${build[@]}"

tell() { printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"; }
digest() { sha256sum "$1" | cut -d ' ' -f 1; }

tell command "$thoth_bundle"
tell bundle "$OUTPUT"
tell bundle-digest "$(digest "$OUTPUT/manifest.json")"
tell set-digest "$(digest "$OUTPUT/SHA256SUMS")"

if [ -n "$SBOM" ]; then "$thoth_bundle" sbom "$OUTPUT" >"$SBOM"; fi

pack=("$thoth_bundle" image "$OUTPUT" --json)
if [ -n "$BASE" ]; then pack+=(--base "$BASE"); fi
destinations=()
while IFS= read -r line; do
    if [ -n "$line" ]; then destinations+=(--to "$line"); fi
done <<<"$IMAGE"
if [ ${#destinations[@]} -gt 0 ]; then
    report=$RUNNER_TEMP/thoth-models/image.json
    "${pack[@]}" "${destinations[@]}" >"$report"
    cat "$report"
    tell image-digest "$("$programs/python" -c 'import json, sys; print("sha256:" + json.load(sys.stdin)["digest"])' <"$report")"
elif [ -n "$BASE" ]; then
    echo "::error::base: expected an image for it, found no destination in 'image'"
    exit 2
fi
