# The image of production: vLLM on CUDA. From the root of the repository, with BuildKit:
#   docker build --file deploy/images/gpu.Dockerfile \
#     --tag registry.example.org/overnight/gpu:0.1.0 .
#
# `base` is enough: the wheels of PyTorch bring CUDA's libraries, this brings what the driver wants.
FROM nvidia/cuda:13.0.2-base-ubuntu24.04

# A compiler and Python's headers stay: Triton builds its launchers when a model is loaded.
# wget: an older KubeRay probes with it, where a newer one asks over HTTP. Versions are not
# pinned as Ubuntu keeps the newest build of a package alone, and a pin would not last a month.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates gcc libc6-dev python3.12 python3.12-dev python3.12-venv wget \
    && rm -rf /var/lib/apt/lists/*

# A number, as Kubernetes cannot tell from a name that a user is not root.
RUN groupadd --gid 10001 overnight \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp overnight \
    && mkdir /cache && chown 10001:10001 /cache

ENV PATH=/opt/overnight/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
WORKDIR /opt/overnight

# constraints.txt holds what is tested with the CPU build of vLLM. The CUDA build insists on another
# apache-tvm-ffi and brings fifty packages of its own, so that this image has a list by itself,
# resolved within constraints.txt but for that one line; its first lines say how.
COPY pyproject.toml README.md LICENSE deploy/images/gpu.constraints.txt ./
COPY jobs jobs
COPY pipeline pipeline
RUN python3.12 -m venv venv \
    && pip install --no-cache-dir --constraint gpu.constraints.txt '.[vllm,metrics]'

# Prompts and the demo, where a job file can name them.
COPY conf conf

# Whatever is fetched or compiled goes to a volume at /cache, whatever is scratch to /tmp: the root
# file system may be read-only.
ENV HOME=/tmp \
    HF_HOME=/cache/huggingface \
    OVERNIGHT_CACHE=/cache/overnight \
    VLLM_CACHE_ROOT=/cache/vllm \
    TRITON_CACHE_DIR=/tmp/triton \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    FLASHINFER_WORKSPACE_BASE=/tmp \
    VLLM_NO_USAGE_STATS=1 \
    RAY_USAGE_STATS_ENABLED=0
VOLUME /cache
USER 10001:10001
