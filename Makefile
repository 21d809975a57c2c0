# make demo: a first look. make test: the whole suite. make lint: style and types.
# make release-check: the tests that take long, the fuzzes, kills, soak and kernels' timings; about an hour.
# make gpu: what a GPU says, with the Python that is given: it needs torch, CuPy and pytest.
PYTHON ?= python3
BIN = .venv/bin

.venv/installed: pyproject.toml setup.cfg $(wildcard kernels/*)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[cuda12,dev]'
	touch $@

.PHONY: demo test lint release-check gpu clean
demo: .venv/installed
	$(BIN)/fastaug demo

test: .venv/installed
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

release-check: .venv/installed
	$(BIN)/python -m pytest -q -m release
	$(BIN)/python benchmarks/fuzz_plans.py
	$(BIN)/python benchmarks/fuzz_jpeg.py
	$(BIN)/python benchmarks/fuzz.py
	$(BIN)/python benchmarks/kills.py
	$(BIN)/python benchmarks/kills.py --kills 40 --signals KILL TERM INT
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/kernel.py
	$(BIN)/python benchmarks/policy.py

gpu:
	$(PYTHON) benchmarks/gpu_kit.py $(if $(OUTPUT),--output $(OUTPUT))

clean:
	rm -rf .venv build demo *.egg-info kernels/*.so
