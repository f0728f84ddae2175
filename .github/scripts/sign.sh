#!/usr/bin/env bash
# Signs the images that push.sh pushed to NAME, by digest and without a key, and verifies them as docs/ci.md describes.
# DIGESTS are all of them: of an index, also those of its images.
set -euo pipefail

read -ra digests <<<"${DIGESTS:?}"
if [ ${#digests[@]} -ne 7 ]; then
    echo "expected the digests of two indexes with two images each, and of the artifact, found '$DIGESTS'" >&2
    exit 1
fi
for digest in "${digests[@]}"; do
    if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
        echo "expected a digest sha256:…, found '$digest'" >&2
        exit 1
    fi
done
for digest in "${digests[@]}"; do
    cosign sign --yes "$NAME@$digest"
    cosign verify \
        --certificate-oidc-issuer https://token.actions.githubusercontent.com \
        --certificate-identity "$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF" \
        "$NAME@$digest"
done
