#!/usr/bin/env bash
# Writes report/, which bundle.yml uploads and comment.yml posts: the number of the pull request, and what changes from
# the bundle and image in before/ to those in after/. BEFORE and AFTER say whether they could be built. The page about the
# bundle in after/ is for people who download the artifact: comment.yml does not read it.
set -euo pipefail

program=after/.nox/build_bundle/bin/thoth-bundle
page=("$program" report after/bundle --output report/report.html)
[ ! -f after/bench/results.json ] || page+=(--benchmarks after/bench/results.json)

mkdir -p report
printf '%s\n' "$NUMBER" >report/number
if [ "$AFTER" != success ]; then
    printf '{"unavailable": "after"}\n' >report/report.json
elif [ "$BEFORE" != success ] || [ ! -d before/image ]; then
    printf '{"unavailable": "before"}\n' >report/report.json
    "${page[@]}"
else
    compare=("$program" diff before/bundle after/bundle --layers before/image after/image)
    "${compare[@]}"
    "${compare[@]}" --json >report/report.json
    "${compare[@]}" --markdown >>"$GITHUB_STEP_SUMMARY"
    "${page[@]}" --against before/bundle
fi
