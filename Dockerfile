# The worker's image: `docker build --tag sluicegate:0.1.0 .`
# It holds the CPU engine's runtime, clients for engines that run elsewhere and the review desk, no model and no GPU runtime:
# that is in Dockerfile.gpu.
# Pin the base by digest where you build: --build-arg BASE=docker.io/library/python:3.11-slim-bookworm@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm

# pip of the pinned version: older ones take no hashes from a constraints file. Every file that is installed is checked.
FROM ${BASE} AS pip
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
COPY constraints.txt pyproject.toml requirements.py ./
RUN python -m venv /opt/sluicegate \
    && sed -n '/^pip==/,/[^\\]$/p' constraints.txt > pip.txt \
    && /opt/sluicegate/bin/pip install --require-hashes --requirement pip.txt

# PyPI has no wheel of Faust for Linux on arm64: it is built from its source, which is checked, too. This was not run yet.
FROM pip AS faust-arm64
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
RUN /opt/sluicegate/bin/pip wheel --no-deps --no-binary faust-streaming --require-hashes --constraint constraints.txt --build-constraint constraints.txt --wheel-dir /wheels faust-streaming

FROM pip AS faust-amd64
RUN mkdir /wheels

FROM faust-${TARGETARCH} AS faust

FROM pip AS build
COPY --from=faust /wheels /wheels
RUN find /wheels -name '*.whl' -exec /opt/sluicegate/bin/pip install --no-deps --no-index {} +
# Libraries before our own code: they change more rarely.
RUN python requirements.py cpu redis otel review > requirements.txt \
    && /opt/sluicegate/bin/pip install --only-binary :all: --require-hashes --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE NOTICE CHANGELOG.md ./
COPY schemas schemas
COPY engines engines
COPY pipeline pipeline
COPY src src
RUN /opt/sluicegate/bin/pip install --no-deps --build-constraint constraints.txt .

# What is in the image, and under which licences: a bill of materials (CycloneDX), and the licences' texts.
FROM build AS papers
RUN python -m venv --without-pip /opt/tools \
    && /opt/sluicegate/bin/pip --python /opt/tools/bin/python install --only-binary :all: --require-hashes --constraint constraints.txt cyclonedx-bom pip-licenses \
    && mkdir /papers \
    && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /papers/sbom.cdx.json /opt/sluicegate/bin/python \
    && /opt/tools/bin/pip-licenses --python /opt/sluicegate/bin/python --with-system --with-license-file --no-license-path --with-notice-file --format plain-vertical --output-file /papers/THIRD-PARTY-LICENSES.txt

FROM ${BASE}
LABEL org.opencontainers.image.title="sluicegate" \
      org.opencontainers.image.description="Content moderation as a stream" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"
# llama.cpp's threads: the only library of the system that the wheels do not bring along. No version: Debian's mirrors
# keep the newest alone. /bundles: a new volume that is mounted there belongs to whom the folder does.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner 10001 --group 10001 /bundles
COPY --from=build /opt/sluicegate /opt/sluicegate
COPY --from=build /source/LICENSE /source/NOTICE /opt/sluicegate/
COPY --from=papers /papers /opt/sluicegate
ENV PATH=/opt/sluicegate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["sluicegate"]
CMD ["worker"]
