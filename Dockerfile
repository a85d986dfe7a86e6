# The images of docker-compose.yml: targets router, bridge, node and balancer.
#   docker build --target node --build-arg PACKAGES="pyserial" -t my-node .
ARG PYTHON=python:3.13-slim
ARG NODE=node:22-slim

FROM ${NODE} AS page
WORKDIR /page
COPY js/package.json js/package-lock.json ./
RUN npm install --no-save --no-audit --no-fund --loglevel=error
COPY js ./
RUN node build.js

# Build tools stay in these stages; the images get only the installed environment.
FROM ${PYTHON} AS library
WORKDIR /opt/sisock
ENV PATH=/opt/venv/bin:$PATH
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_QUIET=1
RUN python3 -m venv /opt/venv
# An empty package: a change of sisock then does not install all dependencies again.
COPY pyproject.toml setup.py README.md LICENSE ./
RUN mkdir sisock && touch sisock/__init__.py && pip install --editable .

# Without bjdata (see the Makefile) and without the packages' tests, a fifth of their size.
FROM library AS node-environment
ARG PACKAGES=""
RUN pip install --editable '.[sensors]' ${PACKAGES} && pip uninstall -y bjdata pip \
    && find /opt/venv -type d \( -name test -o -name tests \) -prune -exec rm -r {} +

FROM library AS bridge-environment
RUN pip install --editable '.[grafana]' && pip uninstall -y bjdata pip \
    && find /opt/venv -type d \( -name test -o -name tests \) -prune -exec rm -r {} +

FROM library AS router-environment
RUN pip install --editable '.[router]' && pip uninstall -y bjdata pip \
    && find /opt/venv -type d \( -name test -o -name tests \) -prune -exec rm -r {} +

FROM ${PYTHON} AS base
# The uid of the first user of most systems: a container can then read this user's files.
ARG UID=1000
RUN useradd --uid ${UID} --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin sisock \
    && install -d -o ${UID} -g ${UID} -m 700 /var/lib/sisock \
       /credentials/router /credentials/servers /credentials/consumers \
    && install -d -o ${UID} -g ${UID} -m 755 /credentials/grafana \
    && install -d -m 1777 /var/cache/sisock /var/data/sisock
WORKDIR /opt/sisock
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SISOCK_HOME=/var/lib/sisock SISOCK_CACHE=/var/cache/sisock \
    SISOCK_DATA=/var/data/sisock SISOCK_RUN=/tmp/sisock SISOCK_HEALTH=/tmp/health.sock
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["python", "-m", "sisock.connection.health"]

FROM base AS router
COPY --from=router-environment /opt/venv /opt/venv
COPY --from=page /page/dist js/dist
COPY .crossbar .crossbar
COPY pyproject.toml hub.py ./
COPY sisock sisock
# The modes of files in the clone may deny access to other users.
RUN chmod -R a+rX . && python -m compileall -q .
USER sisock
EXPOSE 8080
CMD ["python", "-m", "sisock.router"]

FROM base AS bridge
COPY --from=bridge-environment /opt/venv /opt/venv
COPY pyproject.toml grafana_http_json.py ./
COPY sisock sisock
# The modes of files in the clone may deny access to other users.
RUN chmod -R a+rX . && python -m compileall -q .
ENV BIND=0.0.0.0
USER sisock
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["python", "-c", \
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 5000, timeout=5); c.request('GET', '/readyz'); exit(c.getresponse().status != 200)"]
CMD ["python", "grafana_http_json.py"]

FROM base AS node
COPY --from=node-environment /opt/venv /opt/venv
COPY example_data example_data
COPY data_nodes data_nodes
COPY pyproject.toml ./
COPY sisock sisock
# The modes of files in the clone may deny access to other users.
RUN chmod -R a+rX . && python -m compileall -q .
USER sisock
CMD ["python", "data_nodes/sensors.py"]

# Debian's HAProxy, for the profile "scale". Variables in its configuration name the bridges.
FROM ${PYTHON} AS balancer
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends haproxy >/dev/null \
    && rm -rf /var/lib/apt/lists/*
COPY docs/haproxy.cfg /etc/haproxy/haproxy.cfg
RUN chmod a+r /etc/haproxy/haproxy.cfg
USER haproxy
EXPOSE 5000
# With this signal, HAProxy finishes requests in progress; Docker's default would end it at once.
STOPSIGNAL SIGUSR1
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["python", "-c", \
    "import http.client as h; c = h.HTTPConnection('127.0.0.1', 5000, timeout=5); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]
CMD ["haproxy", "-db", "-f", "/etc/haproxy/haproxy.cfg"]
