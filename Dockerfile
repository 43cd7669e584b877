# hadolint global ignore=DL3008
# Debian keeps one version of a package: a pin would break with its next update.
# The server and its client commands: docker build --target cpu|cuda. deploy/build_image.sh builds and tries it without a daemon.
FROM debian:bookworm-slim AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/qwentts
WORKDIR /src
COPY deploy/requirements.txt deploy/requirements-cpu.txt deploy/

# Torch's headers, and what its own tests need, stay here.
ENV TORCH=/opt/qwentts/lib/python3.11/site-packages/torch

# PyTorch's own index has it without CUDA; all else is as on a GPU, less what only CUDA needs.
FROM build AS build-cpu
RUN sed '/^\(torch\|triton\|cuda-\|nvidia-\)/,/[^\\]$/d' deploy/requirements.txt > /tmp/requirements.txt \
    && /opt/qwentts/bin/pip install --no-cache-dir --require-hashes --only-binary :all: \
        -r /tmp/requirements.txt -r deploy/requirements-cpu.txt \
    && rm -rf $TORCH/include $TORCH/test $TORCH/bin/protoc* $TORCH/bin/test_* $TORCH/bin/*Test
COPY . .
RUN /opt/qwentts/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels ./clients/python .

FROM build AS build-cuda
RUN /opt/qwentts/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r deploy/requirements.txt \
    && rm -rf $TORCH/include $TORCH/test $TORCH/bin/protoc* $TORCH/bin/test_* $TORCH/bin/*Test
COPY . .
RUN /opt/qwentts/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation -w /wheels ./clients/python .

# Downloads and compiled kernels go to the first volume, created voices to the second. The numbers are for fsGroup and runAsUser.
FROM python AS runtime
RUN groupadd --gid 10001 qwentts \
    && useradd --uid 10001 --gid qwentts --no-create-home --home-dir /var/cache/qwentts --shell /usr/sbin/nologin qwentts \
    && install -d -o qwentts -g qwentts -m 0700 /var/cache/qwentts /var/lib/qwentts /var/lib/qwentts/voices
# GRPC_VERBOSITY: what gRPC's core logs may hold bytes of whoever connects.
ENV PATH=/opt/qwentts/bin:$PATH \
    HF_HOME=/var/cache/qwentts/huggingface \
    TRITON_CACHE_DIR=/var/cache/qwentts/triton \
    CUDA_CACHE_PATH=/var/cache/qwentts/cuda \
    XDG_CACHE_HOME=/var/cache/qwentts \
    GRPC_VERBOSITY=NONE \
    QWENTTS_HOST=0.0.0.0 \
    QWENTTS_METRICS_HOST=0.0.0.0 \
    QWENTTS_LOG_FORMAT=json \
    QWENTTS_VOICE_DIR=/var/lib/qwentts/voices
VOLUME ["/var/cache/qwentts", "/var/lib/qwentts"]
EXPOSE 50051 9464
WORKDIR /var/lib/qwentts
# The first start loads, and on a GPU compiles; with TLS give it --tls-ca (compose: healthcheck) or probe /readyz.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m --retries=3 CMD ["qwentts-grpc", "health"]
ENTRYPOINT ["qwentts-grpc"]
CMD ["serve"]

FROM runtime AS cpu
COPY --from=build-cpu /opt/qwentts /opt/qwentts
RUN --mount=type=bind,from=build-cpu,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001

# Triton compiles a launcher for each kernel, which takes a C compiler and Python's headers.
FROM runtime AS cuda
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev \
    && rm -rf /var/lib/apt/lists/*
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=build-cuda /opt/qwentts /opt/qwentts
RUN --mount=type=bind,from=build-cuda,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --no-index /wheels/*.whl
USER 10001:10001
