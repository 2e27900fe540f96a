# One image for every process; the command says which: python -m reelgate_<name>, or reelgate <command>.
# For builds that are the same for ever, give the base by digest: --build-arg PYTHON=python@sha256:…
ARG PYTHON=python:3.13-slim-trixie
FROM ${PYTHON} AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# The locked packages first: this layer lasts until the lock changes. Everything after it works offline.
COPY requirements-runtime.lock .
RUN pip wheel --require-hashes --no-deps --wheel-dir /wheels --requirement requirements-runtime.lock
RUN python -m venv /build/tools && /build/tools/bin/pip install --no-index --find-links /wheels hatchling
COPY libs libs
COPY services services
RUN /build/tools/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels ./libs/* ./services/*
# From the wheels only what the members ask for: the build backend stays behind, and so does pip.
RUN python -m venv --without-pip /opt/reelgate \
    && pip --python /opt/reelgate/bin/python install --no-index --find-links /wheels \
        reelgate-cli reelgate-api reelgate-submitter reelgate-callback reelgate-reconciler reelgate-simulator

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Reelgate" \
      org.opencontainers.image.description="A self-hosted video-generation gateway in front of Kie.ai" \
      org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that volumes and policies can name it.
RUN useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin reelgate \
    && install --directory --owner=10001 --group=10001 /videos
COPY --from=builder /opt/reelgate /opt/reelgate
# Nothing is written to disk at run time but the metrics of several workers, to /tmp: the root may be read-only.
ENV PATH=/opt/reelgate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# Liveness only: a part that is away must not get this process killed. http.client knows no proxies.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['HTTP_PORT']), timeout=2); c.request('GET', '/healthz'); assert c.getresponse().status == 200"]
CMD ["python", "-m", "reelgate_api"]
