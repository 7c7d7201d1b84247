# bpf-atlas as one container: broker, recorder and web, as `bpf-atlas serve` starts them.
#
#   docker build -t bpf-atlas .            from Docker's official Python image
#   make image                             the same by buildah, on a base of Debian's own packages, nothing pulled
#
# How to run it, with which capabilities and why: docs/container.md.

# Any Debian-like image with a python3 >= 3.11 that can make a venv.
ARG BASE=python:3.11-slim-bookworm

# Wheels prepared outside, for builds that reach no package index: --build-context wheels=DIR --build-arg PIP_NO_INDEX=1
FROM scratch AS wheels

FROM ${BASE} AS build
ARG PIP_NO_INDEX=
ARG PIP_INDEX_URL=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1
# One environment holds pip, the other one what is shipped.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/bpf-atlas
COPY requirements/run.txt /opt/run.txt
RUN --mount=type=bind,from=wheels,target=/opt/wheels \
    /opt/pip/bin/python -m pip --python /opt/bpf-atlas/bin/python install --quiet \
    --require-hashes --no-deps --only-binary :all: --no-compile --find-links /opt/wheels -r /opt/run.txt
# Laid out as in the wheel: templates and static files inside the package. The demo stays outside.
COPY app /opt/tree/app
COPY templates /opt/tree/app/_web/templates
COPY static /opt/tree/app/_web/static
COPY migrations /opt/tree/app/_history/migrations
COPY deploy/bpf-atlas deploy/healthcheck.py /opt/bpf-atlas/bin/
RUN chmod 755 /opt/bpf-atlas/bin/bpf-atlas \
    && mv /opt/tree/app "$(/opt/bpf-atlas/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/app" \
    && /opt/bpf-atlas/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/bpf-atlas/lib \
    && mkdir /opt/data \
    && /opt/bpf-atlas/bin/python -I -c 'import app.web.serve, app.recorder.watch, app.broker.host'

FROM ${BASE}
LABEL org.opencontainers.image.title="bpf-atlas" \
      org.opencontainers.image.description="A dashboard for the live eBPF maps of a Linux host" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/bpf-atlas /opt/bpf-atlas
# Root's, and without access for others to write: the web's and the recorder's folders in it are theirs.
COPY --from=build /opt/data /data
ENV PATH=/opt/bpf-atlas/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    BPF_ATLAS_DATA=/data BPF_ATLAS_LISTEN=0.0.0.0:8470
VOLUME /data
EXPOSE 8470
# No USER: the broker is uid 0 with three capabilities, since added ones do not reach another user. Web and recorder
# leave uid 0 for 58470 and 58471 as their first act.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 \
    CMD ["/opt/bpf-atlas/bin/python", "-I", "/opt/bpf-atlas/bin/healthcheck.py"]
ENTRYPOINT ["bpf-atlas"]
CMD ["serve"]
