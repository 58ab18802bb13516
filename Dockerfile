# The worker's image: `docker build --tag sluicegate:0.1.0 .`
# It holds the CPU engine's runtime and clients for engines that run elsewhere, no model and no GPU runtime.
# Pin the base by digest where you build: --build-arg BASE=docker.io/library/python:3.11-slim-bookworm@sha256:…
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/sluicegate
WORKDIR /source
# Libraries first: they change more rarely than our own code.
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; e = p["optional-dependencies"]; print("\n".join([*p["dependencies"], *e["cpu"], *e["redis"], *e["otel"]]))' > requirements.txt \
    && /opt/sluicegate/bin/pip install --only-binary :all: --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE NOTICE CHANGELOG.md ./
COPY schemas schemas
COPY engines engines
COPY pipeline pipeline
COPY src src
# As variables, since pip builds in an environment of its own, which no --constraint reaches; the second is the name from
# pip 25.3 on.
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt /opt/sluicegate/bin/pip install --no-deps .

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
ENV PATH=/opt/sluicegate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["sluicegate"]
CMD ["worker"]
