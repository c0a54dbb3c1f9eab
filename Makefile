# Everything a new machine needs: Python, make and the package index. `make mnist` trains, `make test` checks.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: mnist test lint types docs clean

mnist: $(VENV)/installed
	$(BIN)/python examples/mnist_mlp.py

test: $(VENV)/installed lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile
	OMP_NUM_THREADS=1 SPATIALGRAPH_DEVICE=nonumba $(BIN)/python -m pytest -q -n 2 tests/functional tests/neurons
	OMP_NUM_THREADS=1 SPATIALGRAPH_DEVICE=sim $(BIN)/python -m pytest -q -n 2 \
		tests/test_devices.py tests/test_launches.py tests/functional/test_engines.py \
		tests/functional/test_ordered.py tests/functional/test_delays.py tests/training/test_accelerator.py \
		tests/kernels/test_triton.py tests/kernels/test_triton_delays.py tests/kernels/test_triton_products.py \
		tests/test_limited_device.py tests/layers/test_matrices.py

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed
	$(BIN)/mypy

docs: $(VENV)/installed
	$(BIN)/sphinx-build -n -W --keep-going -b html docs docs/_build/html

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e ".[all]"
	touch $@

clean:
	rm -rf $(VENV) docs/_build
