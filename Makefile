# Everything a person or a machine does here. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help setup study test test-all test-without-ray test-ray test-cluster test-slurm test-heavy test-bounds test-trackers chaos submit check format benchmark benchmark-whole-machine benchmark-evaluation benchmark-measures benchmark-data benchmark-report benchmark-orchestration benchmark-requests benchmark-scale benchmark-parts clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# With bytecode kept, also where the environment asks for none: each worker compiles all tests and the package for 8 s else.
PYTEST := OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto
STAMP := $(VENV)/.installed
SITE := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
OUT ?= results
CLUSTER ?= cluster.yaml
STUDY ?= studies/quick.py
SECONDS ?= 90
TORCH ?= 2.10.0
# Of every library that has a bound, the room that uses it, without a server or a long training. One is left out: before
# pandas 3, `read_csv` itself reads the last digit of some numbers wrong.
BOUNDS ?= tests/study tests/datasets/test_formats.py tests/datasets/test_pictures.py tests/findings/test_contrasts.py tests/report/test_build.py tests/report/figures/test_figures.py tests/training/test_loop.py tests/commands --deselect tests/report/test_build.py::test_tables_are_those_of_load -m "not slow and not cluster and not browser and not trackers"

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 28

# Compiled on all cores, which pip does on one; some files are for a later Python. Left to each process, where
# PYTHONDONTWRITEBYTECODE is set, as in many containers, a small run on Ray takes 2.5 times the CPU.
setup: $(STAMP) ## make a virtual environment with the pinned versions

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev,cluster]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
	@touch $(STAMP)

study: setup ## run studies/quick.py and print where its page is
	$(BIN)/python -m rdstudy.run studies/quick.py --out $(OUT)

test: setup ## the quick tests, on all cores
	$(PYTEST) --dist worksteal -m "not slow and not cluster and not browser and not slurm and not trackers and not heavy"

test-all: test-without-ray test-ray ## all tests but those of `make test-cluster`, `make test-slurm` and `make test-heavy`

test-without-ray: setup ## tests that start no Ray, those that open a browser or take long too
	$(PYTEST) --dist worksteal -m "not cluster and not hosts and not slurm and not trackers and not heavy" --durations 5

test-ray: setup ## tests that start Ray, on more workers than cores, as they wait much; each worker's Ray has its own folder
	$(PYTEST) --numprocesses 3 --dist loadfile -m cluster --durations 20

test-cluster: setup ## `ray up` on three hosts made of network namespaces, with kills (root, iproute2, openssh-server, rsync, tmux)
	$(BIN)/python -m pytest -m hosts tests/hosts

test-bounds: ## tests with the lowest versions that are allowed, in .venv-lowest: TORCH=2.10.0
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt torch==$(TORCH) '.[images,h5]' pytest hypothesis
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -o filterwarnings=default $(BOUNDS)

# Without constraints.txt: a server of MLflow 3.17 asks for an older pyarrow; its client alone does not.
test-trackers: ## `rdstudy export` to a real MLflow server, TensorBoard's reader and Weights & Biases, in .venv-trackers
	$(PYTHON) -m venv .venv-trackers
	.venv-trackers/bin/python -m pip install --quiet $$(grep ^torch== constraints.txt) '.[trackers]' mlflow tensorboard pytest hypothesis
	OMP_NUM_THREADS=1 .venv-trackers/bin/python -m pytest -o filterwarnings=default -m trackers tests/commands
test-slurm: setup ## clusters/slurm.sh on a Slurm of this machine (root; Debian's slurmctld, slurmd and munge)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

# On top of .venv, which stays as it is: with its dashboard, Ray starts other processes.
test-heavy: setup ## Triton's kernels in its interpreter, and `ray job submit`, in .venv-heavy
	$(BIN)/python -m venv .venv-heavy
	echo "import site; site.addsitedir('$$($(BIN)/python $(SITE))')" > "$$(.venv-heavy/bin/python $(SITE))/on_top.pth"
	.venv-heavy/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[heavy]'
	OMP_NUM_THREADS=1 .venv-heavy/bin/python -m pytest -m heavy tests/training/test_dense_step.py tests/benchmarks/test_lowered.py tests/running/tune/test_submit.py

chaos: setup ## faults and bad input at random, side by side, as each waits much: SECONDS=90
	mkdir -p build
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) > build/fuzz.log 2>&1 & fuzz=$$!; \
		$(BIN)/python -m tests.chaos --seconds $(SECONDS); chaos=$$?; \
		wait $$fuzz; fuzz=$$?; cat build/fuzz.log; exit $$((chaos | fuzz))

submit: ## start STUDY on the head of CLUSTER, detached: OUT=s3://... [OPTIONS="--set ..."] [STOP=1: then end the cluster]
	$(BIN)/ray rsync-up $(CLUSTER)
	$(BIN)/ray exec --tmux $(if $(STOP),--stop) $(CLUSTER) "cd ~/rdstudy && RDSTUDY_CODE_VERSION=$$($(BIN)/python -m rdstudy.running.provenance) .venv/bin/python -m rdstudy.run $(STUDY) --out $(OUT) $(OPTIONS)"

check: setup ## lint, formatting, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: setup ## training steps against the bound and against others
	$(BIN)/python -m benchmarks.training

benchmark-whole-machine: setup ## all cores against pythae on as many
	$(BIN)/python -m benchmarks.whole_machine

benchmark-measures: setup ## what the measures of a member cost
	$(BIN)/python -m benchmarks.measures

benchmark-evaluation: setup ## measuring a member as a fraction of training it
	$(BIN)/python -m benchmarks.evaluation

benchmark-data: setup ## drawing the Tetrominoes
	$(BIN)/python -m benchmarks.data

benchmark-report: setup ## building the page of a study as large as the paper's
	$(BIN)/python -m benchmarks.report

benchmark-orchestration: setup ## what Ray, checkpoints and tables cost beside plain processes
	$(BIN)/python -m benchmarks.orchestration

benchmark-requests: setup ## what a bucket is asked by a run with nothing to do, and by a page
	$(BIN)/python -m benchmarks.requests

benchmark-scale: setup ## plan, queue and store of 100,000 members
	$(BIN)/python -m benchmarks.scale

benchmark-parts: setup ## a step with other priors, learning rates and networks
	$(BIN)/python -m benchmarks.parts

clean: ## remove the environment and the caches, and no result
	rm -rf $(VENV) .venv-lowest .venv-trackers .venv-heavy .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
