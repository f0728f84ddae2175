#!/usr/bin/env bash
# Put a release into the stack of compose.yaml, or back: the same command, with the environment file of another release.
#
#   roll-out.sh canary RELEASE.env     one instance beside the replicas, without traffic
#   roll-out.sh replicas RELEASE.env   all replicas, one after the other: a replica leaves the traffic, finishes its
#                                      requests, is replaced, and gets traffic again before the next one leaves it;
#                                      the canary is removed in the end
#
# READY_WITHIN (default 60s) limits the wait for each instance. It ends with 1 when one is not ready by then: the replicas
# that come after it still run what they ran before.
set -euo pipefail

fail() {
    echo "roll-out: $1" >&2
    exit "${2:-1}"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# = 2 ] || fail "expected canary or replicas, and an environment file; found $# arguments" 2
what=$1 release=$2
[[ $what == canary || $what == replicas ]] || fail "expected canary or replicas, found $what" 2
[ -f "$release" ] || fail "expected an environment file, found none: $release" 2
release=$(cd "$(dirname "$release")" && pwd)/$(basename "$release")

# Otherwise the engine would kill a replica that still answers. The defaults are those of compose.yaml.
value() {
    local found
    found=$(sed -n "s/^$1=//p" "$release" | tail -n 1 | tr -d "\"' ")
    echo "${found:-$2}"
}
drain=$(value SERVICE_DRAIN_SECONDS 6) stop=$(value SERVICE_STOP_SECONDS 30) grace=$(value STOP_GRACE 40s)
[[ $grace =~ ^[0-9]+s$ ]] || fail "STOP_GRACE: expected seconds such as 40s, found $grace" 2
awk -v drain="$drain" -v stop="$stop" -v grace="${grace%s}" 'BEGIN { exit !(drain + stop < grace) }' ||
    fail "STOP_GRACE: expected more than SERVICE_DRAIN_SECONDS and SERVICE_STOP_SECONDS, $drain and $stop, found $grace" 2

# A second one at the same time would take the other replica out of the traffic as well. A child keeps the lock: what was
# killed may have left a command of Compose that goes on.
exec 9<"$here/compose.yaml"
flock --nonblock 9 || fail "another roll-out of this stack is running"

# Compose prefers variables of the shell to those of the file, and a release would not be the one in its file.
while IFS='=' read -r name _; do unset "$name"; done < <(grep -E '^[A-Za-z_][A-Za-z0-9_]*=' "$release")

compose=(docker-compose)
if docker compose version >/dev/null 2>&1; then compose=(docker compose); fi
compose+=(--file "$here/compose.yaml" --env-file "$release" --profile canary)

ready() {
    PYTHONPATH="$here/.." python3 -m gates ready --within "${READY_WITHIN:-60s}" "http://127.0.0.1:$1" >&2
}

start() {
    echo "roll-out: $1" >&2
    "${compose[@]}" up --detach --no-deps "$1"
    ready "$2/ready" || fail "$1 of $(basename "$release") is not ready"
}

# Does nothing where it runs.
"${compose[@]}" up --detach --no-deps proxy

if [ "$what" = canary ]; then
    start canary "${CANARY_PORT:-8029}"
    exit
fi

# Where only one gets traffic, as after a roll-out that failed, that one comes last.
replicas=("replica-1 ${REPLICA_1_PORT:-8021}" "replica-2 ${REPLICA_2_PORT:-8022}")
if ! READY_WITHIN=0.1s ready "${replicas[1]#* }/in-traffic" 2>/dev/null; then
    replicas=("${replicas[1]}" "${replicas[0]}")
fi
for replica in "${replicas[@]}"; do
    read -r name port <<<"$replica"
    start "$name" "$port"
    ready "$port/in-traffic" || fail "$name of $(basename "$release") gets no traffic"
done
"${compose[@]}" rm --stop --force canary
