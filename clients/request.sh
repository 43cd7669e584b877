#!/usr/bin/env bash
# Requests in protobuf's text format, each as the hexadecimal bytes that the clients of these folders take; needs protoc.
set -euo pipefail
proto=$(dirname "$0")/../proto
for request in "$@"; do
    printf %s "$request" | protoc -I"$proto" --encode=qwentts.v1.SynthesizeRequest qwentts/v1/tts.proto | od -An -v -tx1 | tr -d ' \n'
    echo
done
