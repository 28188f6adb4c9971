# Everything a fresh checkout needs: each target sets up .venv by itself, once, and again when pyproject.toml changes.
#   make demo    explain a model trained on real data and write runs/demo/report.html
#   make test    all tests            make check   format, lint, types, house rules
#   make bench   speed benchmarks     make clean   forget the set-up

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PEERS ?=
SHAPLEY_PEERS ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo test check bench clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	# torch goes first and alone: the resolver would otherwise take a build with gigabytes of CUDA libraries.
	$(BIN)/pip install --quiet "$(TORCH)" -c constraints.txt
	$(BIN)/pip install --quiet -e ".[all,dev]" -c constraints.txt
	touch $@

demo: $(READY)
	$(BIN)/pellucid demo --out runs/demo --seed 0
	@echo "The report: $(CURDIR)/runs/demo/report.html"

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope

check: $(READY)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/basedpyright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) tests/house

bench: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/import_time.py
	$(BIN)/python benchmarks/memory.py --write
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed.py --write $(if $(PEERS),--peers $(PEERS))
	$(BIN)/python benchmarks/shapley.py --quick $(if $(SHAPLEY_PEERS),--peers $(SHAPLEY_PEERS))

clean:
	rm -rf $(VENV) build dist .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
