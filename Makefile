# `make run` and `make test` need Python 3.11, pip and make, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
# Installing compiles nothing: Python keeps what it compiles at first use.
export PYTHONDONTWRITEBYTECODE :=
# Several processes at once: where each has threads of its own, they wait for each other.
test test-slow kernels: export OMP_NUM_THREADS := 1

.PHONY: run test test-slow environments lint kernels docs clean

run: .venv/installed
	$(BIN)/qbench run --models all --attacks pgd

# One worker more than the cores of a small machine: tests also wait, for processes and time limits.
test: .venv/installed-test
	$(MAKE) --jobs 2 lint kernels
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-slow: .venv/installed-test .venv/installed-docs
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m slow

# Where test-slow runs today's IBM client and IQM's, which do not go with the other's Qiskit.
environments: .environments/ibm/installed .environments/iqm/installed

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A small run that compiles the loops, which workers of the tests would each do for themselves.
kernels: .venv/installed-test
	out=$$(mktemp -d) && trap 'rm -r $$out' EXIT && $(BIN)/qbench run --models reup,amplitude,convnet,reup-hw4 --seeds 0 --limit 1 \
	    --attacks fgsm --eps 0.1 --out $$out >/dev/null

docs: .venv/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -q -c docs . build/manual
	@echo "build/manual/docs/index.html"

.venv/installed: pyproject.toml $(wildcard requirements/*)
	$(PYTHON) -m venv .venv
	.ci/install $(BIN)/python run
	touch $@

.venv/installed-test: .venv/installed
	.ci/install $(BIN)/python test
	touch $@

.venv/installed-docs: .venv/installed
	.ci/install $(BIN)/python run docs release
	touch $@

.environments/%/installed: pyproject.toml constraints-%.txt
	$(PYTHON) -m venv .environments/$*
	.environments/$*/bin/pip install --quiet --disable-pip-version-check -c constraints-$*.txt -e '.[$*]' pytest hypothesis
	touch $@

clean:
	rm -rf .venv .environments runs build *.egg-info
