#!/usr/bin/env bash
# Signs the images that push.sh pushed to NAME, by digest and without a key, and verifies them as docs/ci.md describes.
set -euo pipefail

for digest in "$BASE" "$DATA" "$MODELPACK"; do
    if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
        echo "expected a digest sha256:…, found '$digest'" >&2
        exit 1
    fi
done
for digest in "$BASE" "$DATA" "$MODELPACK"; do
    cosign sign --yes --recursive "$NAME@$digest" # of an index, also each of its images
    cosign verify \
        --certificate-oidc-issuer https://token.actions.githubusercontent.com \
        --certificate-identity "$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF" \
        "$NAME@$digest"
done
