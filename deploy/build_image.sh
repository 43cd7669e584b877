#!/usr/bin/env bash
# Build the image and try it, as root and without a daemon: deploy/build_image.sh cpu|cuda [flags of buildah build].
# It needs buildah; where no registry can be reached, mmdebstrap makes the base image from Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1
shift
export BUILDAH_ISOLATION=chroot
base=docker.io/library/$(sed -n 's/^FROM \(debian:\S*\) AS python$/\1/p' Dockerfile)

make_base() {
    local suite=${base#*:} packed container
    packed=$(mktemp --suffix=.tar)
    mmdebstrap --quiet --variant=minbase "${suite%-slim}" "$packed"
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$packed" / >/dev/null
    buildah commit --quiet --rm "$container" "$base" >/dev/null
    rm "$packed"
}

buildah inspect --type image "$base" >/dev/null 2>&1 || buildah pull --quiet "$base" 2>/dev/null || make_base
buildah build --layers --format docker --target "$target" --tag "localhost/qwentts-grpc:$target" "$@" .

# As the image's own user: it is ready, speaks, and ends when it is told to.
container=$(buildah from "localhost/qwentts-grpc:$target")
trap 'buildah rm "$container" >/dev/null' EXIT
buildah run "$container" -- sh -euc '
    test "$(id -u)" = 10001
    test "$(touch /opt/qwentts/x 2>&1)" != ""
    port=$(python3 -c "import socket; print(socket.create_server((str(), 0)).getsockname()[1])")
    export QWENTTS_SERVER="localhost:$port"
    qwentts-grpc serve --insecure --log-format text --port "$port" --metrics-port 0 &
    server=$!
    qwentts-grpc health --wait 120
    qwentts-grpc speak "Okay, let me see what I can find." --out /tmp/out.wav
    test "$(stat -c %s /tmp/out.wav)" -gt 40000
    kill "$server"
    wait "$server"'
echo "localhost/qwentts-grpc:$target: $(buildah images --format '{{.Size}}' "localhost/qwentts-grpc:$target")"
