#!/usr/bin/env bash
# Make the image with Python that the tests in containers stand on, where no registry of images is reachable:
# Debian 12 with its own Python 3.11, from Debian's packages (mmdebstrap, docker import).
#
#   tests/docker/make_python_base.sh [IMAGE]      default: thoth-test-python:3.11
#
# Nothing happens when the engine has the image. Needs root, mmdebstrap and a docker client. The mirror is the one that
# this machine's apt is set up with, or mmdebstrap's own default. In the image, as in the official ones: python and
# python3, pip and venv, and pip may install for the whole system. HAProxy is there as well, for the tests of
# operations/compose: an image of its own would take three times as long.
set -euo pipefail

image=${1:-thoth-test-python:3.11}
suite=bookworm # the release with Python 3.11
packages=ca-certificates,haproxy,python3,python3-pip,python3-venv

fail() {
    echo "make_python_base: $1" >&2
    exit 1
}

docker version >/dev/null 2>&1 || fail "no Docker engine answers: $(docker version 2>&1 | tail -1)"
if [ "$(docker image inspect --format '{{index .Config.Labels "packages"}}' "$image" 2>/dev/null)" = "$packages" ]; then
    echo "$image is there"
    exit 0
fi
[ "$(id -u)" = 0 ] || fail "expected to run as root, which mmdebstrap needs; found user $(id -un)"
command -v mmdebstrap >/dev/null || fail "expected mmdebstrap, found none: apt-get install mmdebstrap"

# Where apt fetches Debian's packages from; not the security archive, which has no release of its own.
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(ORIGIN)' 'Identifier: Packages' 2>/dev/null |
    awk -v suite="$suite" '$2 == suite { print $1; exit }' || true)
# mmdebstrap does not read apt's settings.
proxy=()
if command -v apt-config >/dev/null; then
    eval "$(apt-config shell apt_proxy Acquire::http::Proxy)"
    [ -z "${apt_proxy:-}" ] || proxy=(--aptopt="Acquire::http::Proxy \"$apt_proxy\"")
fi

# The apt of another distribution does not know Debian's keys.
keys=/usr/share/keyrings/debian-archive-keyring.gpg
keyring=()
[ ! -e "$keys" ] || keyring=(--keyring="$keys")

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
root=$work/root

start=$(date +%s)
# Not debootstrap, which takes twice the processor time. The tree is not needed after a crash: no waiting for the disk.
# shellcheck disable=SC2086 # no mirror is no argument
if ! mmdebstrap --variant=minbase --include="$packages" --dpkgopt=force-unsafe-io "${proxy[@]}" "${keyring[@]}" \
    "$suite" "$root" ${mirror:+"$mirror"} >"$work/log" 2>&1; then
    tail -20 "$work/log" >&2 || true
    fail "mmdebstrap $suite ${mirror:-from its default mirror} failed; its last words are above"
fi

# What apt and dpkg keep, and what nobody reads in a container.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/*
rm -f "$root"/etc/{apt/apt.conf.d,dpkg/dpkg.cfg.d}/99mmdebstrap # the options above
rm -rf "$root"/usr/share/{doc,man,info,locale,lintian}/*
find "$root"/usr/lib/python3* -name EXTERNALLY-MANAGED -delete
ln -s python3 "$root/usr/bin/python"
# The machine's own, which the engine writes anew for each container.
: >"$root/etc/hostname"
: >"$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"

tar --create --numeric-owner --sort=name --directory "$root" . | docker import \
    --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'ENV LANG=C.UTF-8' \
    --change 'CMD ["python3"]' \
    --change "LABEL packages=$packages" \
    --message "Debian $suite with Python, for tests" \
    - "$image" >/dev/null
docker run --rm --network none "$image" python -m pip --version >"$work/pip" || fail "$image does not run pip"
echo "$image made in $(($(date +%s) - start)) s: $(cat "$work/pip")"
