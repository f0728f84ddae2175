#!/usr/bin/env bash
# Unpacks bundle.tar, verifies every file, and checks that the bundle digest is EXPECTED.
set -euo pipefail

tar --extract --file=bundle.tar
thoth-bundle verify bundle
found=$(sha256sum bundle/manifest.json | cut -d ' ' -f 1)
if [ "$found" != "$EXPECTED" ]; then
    echo "bundle.tar: expected the bundle sha256:$EXPECTED, found sha256:$found" >&2
    exit 1
fi
