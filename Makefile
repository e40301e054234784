# Everything a newcomer needs: `make demo` and `make test`. The rest is for us.

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
PEOPLE ?= 48
MEASURED ?= 3000
FAULTS ?= 200
CASES ?= 100000
SEED ?= 1

export PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS ?= 180

.PHONY: demo test test-all test-slow coverage mutants fuzz lint types bench docs constraints audit clean

demo: $(VENV)/.installed ## simulate a cohort and run the whole pipeline on it; then the statistics of thousands
	$(BIN)/cmr-cohort simulate --people $(PEOPLE) --output demo
	$(BIN)/cmr-cohort run --config demo/cohort.toml
	$(BIN)/cmr-cohort simulate --people $(MEASURED) --without-images --output demo/statistics
	$(BIN)/cmr-cohort associate --config demo/statistics/cohort.toml
	$(BIN)/cmr-cohort risk --config demo/statistics/cohort.toml
	$(BIN)/cmr-cohort report --config demo/statistics/cohort.toml
	@echo "$(PEOPLE) people with images: demo/cohort/reports/index.html"
	@echo "statistics of $(MEASURED) people, simulated without images: demo/statistics/cohort/reports/index.html"

test: $(VENV)/.installed ## the everyday suite
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" $(TEST_OPTIONS)

test-all: $(VENV)/.installed ## also what takes minutes, or needs SLURM or a browser
	$(BIN)/python -m pytest -n 2 --dist loadfile $(TEST_OPTIONS)

test-slow: $(VENV)/.installed ## only that
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow $(TEST_OPTIONS)

coverage: ## the everyday suite: which branches it takes, and which tests run a line
	$(MAKE) test TEST_OPTIONS="--cov --cov-context=test --cov-report= --junitxml=.coverage.junit.xml $(TEST_OPTIONS)"
	$(BIN)/coverage report --skip-covered --sort=cover | tail -n 60

mutants: $(VENV)/.installed ## small faults in the code that no test notices; after `make coverage`
	$(BIN)/python -m benchmarks.mutants --faults $(FAULTS) --seed $(SEED) $(MUTANTS_OPTIONS)

fuzz: $(VENV)/.installed ## damaged and hostile bytes for every reader
	$(BIN)/python -m benchmarks.fuzz --cases $(CASES) --seed $(SEED) $(FUZZ_OPTIONS)

lint: $(VENV)/.installed ## style, and whether every dependency is declared and used
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/deptry flows tasks cmr_models
	$(BIN)/deptry tests benchmarks --exclude nothing --ignore DEP002,DEP004

types: $(VENV)/.installed
	$(BIN)/mypy

bench: $(VENV)/.installed ## measure against the named peers; results under benchmarks/results
	$(BIN)/python -m benchmarks

docs: $(VENV)/.installed ## regenerate the data dictionary, reason codes and validation pages
	$(BIN)/cmr-cohort docs --output docs

constraints: ## resolve anew what constraints.txt pins, and the hashes of requirements.lock
	$(PYTHON) -m venv --clear .constraints
	.constraints/bin/pip install --quiet torch==2.13.0 -e ".[dev]"
	.constraints/bin/pip freeze --exclude-editable | sed "s,+cpu,," > constraints.txt
	$(MAKE) requirements.lock
	rm -rf .constraints

requirements.lock: pyproject.toml constraints.txt ## what an installation at a site needs, each file by its hash
	test -x .constraints/bin/python || $(PYTHON) -m venv .constraints
	.constraints/bin/pip install --quiet uv
	.constraints/bin/uv pip compile pyproject.toml --extra slurm --extra kubernetes --constraint constraints.txt \
	  --generate-hashes --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
	  --no-annotate --no-header --quiet --output-file requirements.lock

audit: ## known faults in what constraints.txt and requirements.lock pin; needs PyPI, and fails where it cannot tell
	$(PYTHON) -m venv --clear .audit
	.audit/bin/pip install --quiet pip-audit
	.audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt
	.audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock
	rm -rf .audit

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/cmr-cohort check
	touch $@
