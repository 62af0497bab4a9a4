# make run    train the network in main.py (arguments: make run ARGS="--epochs 3")
# make explore  see a network think, on a page (ARGS="results/<run>": your own)
# make check  lint, type-check and run all but the slow tests: less than a minute
# make test   lint, type-check and run every test, offline
# make trust  the long forms of the tests of trust; their figures go to results/trust.json
# make results  run every example that is not in results/ yet (hours; can be stopped and resumed)
# make measure  run every benchmark (two hours; the machine should do nothing else), then the tables
# make table  write the generated tables of README.md and docs/performance.md from results/
# make docs   write the API reference, made from the docstrings, to build/docs/index.html
# make notebooks  run the tutorial, and write what its cells show into docs/tutorial/
# make lock   write requirements-ci.txt, the hashes of what constraints.txt names, on Python 3.11
# make clean  remove the environment and the caches; results stay

# The first of these that is Python 3.11 or newer; name another with make PYTHON=...
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
BIN := .venv/bin
# make test LOCKED=requirements-ci.txt: these files and no others; else what pyproject.toml allows
LOCKED ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# the tests that have a long form
TRUSTED := $(shell grep -l "def test.*trust" tests/test_*.py)

# the benchmarks that tables are made from
MEASURED := accuracy memory roofline scaling startup capture drawn_digits explorer

# on all cores, but not on so many that the threads of the tests take them from each other
PARALLEL := -n auto --maxprocesses 8 --dist worksteal
LINT = $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

.PHONY: run explore check test trust results measure table docs notebooks format lock clean

run: .venv/run.stamp
	$(BIN)/python main.py $(ARGS)

explore: .venv/run.stamp
	@$(BIN)/python -c "import starlette, uvicorn" 2>/dev/null || $(PIP) -e .[explorer]
	$(BIN)/python -m glassbox.explorer $(ARGS)

check: .venv/test.stamp
	$(LINT)
	$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow" $(ARGS)

test: .venv/test.stamp
	$(LINT)
	$(BIN)/python -m pytest -q $(PARALLEL) $(ARGS)

trust: .venv/test.stamp
	$(BIN)/python -m pytest -q --trust $(TRUSTED) $(ARGS)

results: .venv/run.stamp
	$(BIN)/python -m examples $(ARGS)
	$(BIN)/python -m benchmarks.report

measure: .venv/run.stamp
	$(PIP) -r benchmarks/requirements.txt
	for name in $(MEASURED); do \
		$(BIN)/python -m benchmarks.$$name --json results/benchmarks/$$name.json || exit 1; done
	! grep -qs avx512f /proc/cpuinfo || $(BIN)/python -m benchmarks.against_peers \
		--json results/benchmarks/against_peers_avx512.json
	$(BIN)/python -m benchmarks.against_peers --processor avx2 \
		--json results/benchmarks/against_peers_avx2.json
	$(BIN)/python -m benchmarks.roofline --processor avx2 \
		--json results/benchmarks/roofline_avx2.json
	$(BIN)/python -m benchmarks.report

table: .venv/run.stamp
	$(BIN)/python -m benchmarks.report

docs: .venv/test.stamp
	$(BIN)/python docs/make_reference.py build/docs

notebooks: .venv/test.stamp
	$(BIN)/python docs/run_notebooks.py $(ARGS)

format: .venv/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(BIN)/python
	$(BIN)/python .ci/lock.py

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and none was found." \
		"Install one, or name it: make run PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) could not make an environment." \
		"On Debian and Ubuntu: apt install python3-venv"; exit 1; }

.venv/run.stamp: pyproject.toml | $(BIN)/python
	$(if $(LOCKED),$(PIP) --require-hashes -r $(LOCKED) && \
		$(PIP) --no-deps --no-build-isolation -e .,$(PIP) -e .)
	@touch $@

.venv/test.stamp: .venv/run.stamp
	$(if $(LOCKED),,$(PIP) -e .[dev])
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
