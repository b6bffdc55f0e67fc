PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format chaos bench clean

demo: .venv/.built
	$(BIN)/kore-campaign demo

test: .venv/.built
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/.built
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/.built
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A thousand seeds of the crash test, of which make test runs fifty, and as many more of the faults at random; a hundred of
# the crash test with two readers; and seven thousand files that both readers must take alike, of which make test has 200.
chaos: .venv/.built
	KORE_CHAOS_SEEDS=1000 KORE_FUZZED_FILES=7000 $(BIN)/python -m pytest tests/ingest/test_chaos.py \
		tests/ingest/test_everything_at_once.py tests/ingest/test_switched_engines.py tests/ingest/test_engines.py \
		tests/ingest/test_changing_files.py tests/ingest/test_cancelled.py tests/ingest/test_full_disk.py \
		tests/cli/test_locales.py

# Under ten minutes; benchmarks/README.md says how to read it.
bench: .venv/.bench
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/journal_cost.py
	$(BIN)/python benchmarks/budget.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/hostile_sizes.py

clean:
	rm -rf .venv dist

# The environment is made anew only when what it is made from has changed.
.venv/.built: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

# The other contestants, which nothing else needs.
.venv/.bench: .venv/.built
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	touch $@
