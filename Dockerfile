# sidecar   the default: the exporter without livekit-agents
# demo      simulated calls, with livekit-agents:  docker build --target demo .

ARG PYTHON=python:3.13.16-slim-trixie

FROM ${PYTHON} AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON} AS sidecar-packages
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/exporter \
    && /opt/exporter/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[postgres]" \
    && /opt/exporter/bin/pip uninstall --yes pip

FROM ${PYTHON} AS demo-packages
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/exporter \
    && /opt/exporter/bin/pip install --no-cache-dir "$(echo /wheels/*.whl)[agent]" \
    && /opt/exporter/bin/pip uninstall --yes pip

# What both run on.  Agents and sidecar are two users with one group: the directory that they
# share carries setgid, so what one of them writes the other can read, and nobody else.  A new
# named volume takes over owner and mode from here.
FROM ${PYTHON} AS base
RUN groupadd --gid 10000 voice \
    && useradd --uid 10001 --gid voice --no-create-home --home-dir /tmp --shell /usr/sbin/nologin agent \
    && useradd --uid 10002 --gid voice --no-create-home --home-dir /tmp --shell /usr/sbin/nologin exporter \
    && install -d -o root -g voice -m 2770 /var/lib/livekit-exporter
ENV PATH=/opt/exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LIVEKIT_EXPORTER_DATA_DIR=/var/lib/livekit-exporter
ENTRYPOINT ["livekit-exporter"]

FROM base AS demo
COPY --from=demo-packages /opt/exporter /opt/exporter
USER 10001:10000
CMD ["demo", "--no-sidecar", "--duration", "inf"]

# Last, so that it is what is built when nobody says which.
FROM base AS sidecar
COPY --from=sidecar-packages /opt/exporter /opt/exporter
# Reachable from other containers; who may reach the port is the network's business.
ENV LIVEKIT_EXPORTER_LISTEN_ADDRESS=0.0.0.0:7889
EXPOSE 7889
USER 10002:10000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7889/-/ready', timeout=4)"]
CMD ["serve"]
