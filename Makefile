# `make quickstart` and `make test` need Python >= 3.11 (with its venv module) and make, nothing else.
# Another Python: make test PYTHON=python3.12. On Linux, PyPI's torch (used by the tests alone) brings CUDA along; a smaller one:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test

PYTHON ?= python3
PYTEST_ARGS ?= -n 2
MOST := not slow and not processes and not browser and not app
BENCHMARK ?=
QUICKSTART := runs/quickstart
WHEEL := build/wheel
PLANS := build/plans
REPRODUCED ?= runs/reproduce
PLANNED := hvformer.py:mnre qeot.py:more ifaformer.py:mnre mkgformer.py:mnre rsrnet.py:mnre rsrnet.py:hvpnet_mnre dgf_pt.py:mnre detector.py:jsonl visualbert.py:mnre adapted.py:ifaformer_more text_baselines.py:pcnn_mnre text_baselines.py:bilstm_crf_twitter2017
EXAMPLES ?= 1000
SEED ?= $(shell $(PYTHON) -c 'import secrets; print(secrets.randbelow(2**32))')

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: reproduce-small help quickstart test thorough fuzz test-slow parity processes app browser benchmark benchmark-detector gallery kill kill-extract ray plan slurm sky wheel lint clean
.DELETE_ON_ERROR:

help:
	@echo "make quickstart   train, evaluate and extract on the embedded data set (a few minutes on 2 cores)"
	@echo "make test         run the quick tests (minutes)"
	@echo "make thorough     run those that take longer: whole files of runs, figures, plans and second implementations"
	@echo "make test-slow    run those that take minutes each"
	@echo "make fuzz         run the property tests on other examples, EXAMPLES=1000 each; SEED=N repeats a run"
	@echo "make processes    run what takes several processes: a step of every system against one device, runs that are stopped (minutes)"
	@echo "make browser      look at the pages in headless Chromium, which is to be there (Debian: chromium)"
	@echo "make parity       compare converted releases of the full size with their second implementations (minutes, 7 GB of memory)"
	@echo "make benchmark    this library against PyTorch, every system, loader, evaluation and start, in turns (hours; BENCHMARK=\"--only=hvformer --rounds=3\")"
	@echo "make benchmark-detector   Faster R-CNN against torchvision's on this machine, in turns (minutes)"
	@echo "make gallery      train small runs of five systems, unless they are there, and draw every figure of a checkpoint into docs (half an hour)"
	@echo "make reproduce-small   every table and figure of the papers at small size into REPRODUCED=runs/reproduce (two hours; goes on where it was stopped)"
	@echo "make kill         kill a run of two processes KILLS=20 times at moments drawn from SEED, and compare its end with a whole one (tens of minutes)"
	@echo "make kill-extract   kill an extraction 20 times at moments drawn from SEED, and compare its end with a whole one (minutes)"
	@echo "make ray          extract on a Ray cluster of two nodes on this machine, one of which is killed (minutes)"
	@echo "make plan         plan the papers' sizes on TPUs that are not here, as one table (one to two hours; goes on where it was stopped)"
	@echo "make slurm        run two tasks under a real Slurm on this machine (Debian: slurmctld slurmd slurm-client munge)"
	@echo "make sky          have SkyPilot read what is submitted to it, in an environment of its own"
	@echo "make app          try the page of launch.serve in a browser (Debian: chromium), in an environment of its own (minutes)"
	@echo "make wheel        build the wheel, install it in an environment of its own, and run the quickstart there"
	@echo "make lint         run ruff"
	@echo "make clean        remove the virtual environment, caches and $(QUICKSTART)"

quickstart: $(VENV)/.run
	$(BIN)/python -m launch.train --config=configs/hvformer.py:quickstart --workdir=$(QUICKSTART)
	$(BIN)/python -m launch.evaluate --checkpoint=$(QUICKSTART) --split=test
	$(BIN)/python -m launch.extract --checkpoint=$(QUICKSTART) --scenes=4 --pictures=4 --out=$(QUICKSTART)/extracted

test: $(VENV)/.dev $(VENV)/torchvision
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not thorough and $(MOST)"

thorough: $(VENV)/.dev $(VENV)/torchvision
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "thorough and $(MOST)"

fuzz: $(VENV)/.dev $(VENV)/torchvision
	EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest $(PYTEST_ARGS) -m "hypothesis and $(MOST)" --hypothesis-profile=fuzz --hypothesis-seed=$(SEED)

test-slow: $(VENV)/.dev $(VENV)/torchvision
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "slow and not app"

processes: $(VENV)/.dev
	$(BIN)/python -m pytest -n 0 -m "processes and not slow"

browser: $(VENV)/.browser
	$(BIN)/python -m pytest -n 0 -m browser

parity: $(VENV)/.dev $(VENV)/torchvision
	XLA_FLAGS="--xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=true" $(BIN)/python -m pytest -n 0 -m slow tests/systems/test_released_parity.py tests/systems/test_hvformer_reference.py tests/encoders/rcnn tests/encoders/test_vgg.py

# torchvision with its compiled operators, which the tests' PyTorch has none for.
.venv-torchvision/.made:
	$(PYTHON) -m venv .venv-torchvision
	.venv-torchvision/bin/python -m pip install --quiet --disable-pip-version-check torch==2.14.1 torchvision==0.29.1 numpy safetensors
	@touch $@

benchmark: $(VENV)/.dev
	$(BIN)/python -m launch.benchmark_rival --torch=$(BIN)/python $(BENCHMARK)

benchmark-detector: $(VENV)/.run .venv-torchvision/.made
	$(BIN)/python -m launch.benchmark_detector --torchvision=.venv-torchvision/bin/python

gallery: $(VENV)/.run
	$(BIN)/python -m launch.gallery

reproduce-small: $(VENV)/.run $(VENV)/.detector
	$(BIN)/python -m launch.reproduce all --scale=small --workdir=$(REPRODUCED)

kill: $(VENV)/.dev
	$(BIN)/python -m pytest -n 0 -s -m slow -k random tests/launch/test_two_processes.py

kill-extract: $(VENV)/.dev
	$(BIN)/python -m pytest -n 0 -s -m slow -k random tests/launch/test_extract.py

.venv-ray/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]' pytest pytest-xdist hypothesis
	@touch $@

ray: .venv-ray/.made
	.venv-ray/bin/python -m pytest -n 0 -s -m slow tests/bulk/test_ray_engine.py

.venv-plan/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-plan
	.venv-plan/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[tpu]'
	@touch $@

# The papers' sizes; where train.batch does not divide over the chips, 8 records on each.
plan: .venv-plan/.made
	mkdir -p $(PLANS)
	set -e; for topology in v5e:4x4 v5p:2x2x2; do for config in $(PLANNED); do \
	    file=$(PLANS)/$$(echo $$config-$$topology | tr ':' '-').json; labels=0; case $$config in detector*) labels=90;; esac; \
	    test -s $$file || .venv-plan/bin/python -m launch.plan --config=configs/$$config --topology=$$topology --per-chip=8 --labels=$$labels --json=$$file; \
	done; done
	.venv-plan/bin/python -m launch.plan --table=$(PLANS)

slurm: $(VENV)/.dev
	$(BIN)/python -m pytest -n 0 -m slow tests/launch/test_slurm.py

.venv-sky/.made:
	$(PYTHON) -m venv .venv-sky
	.venv-sky/bin/python -m pip install --quiet --disable-pip-version-check skypilot==0.14.1
	@touch $@

sky: $(VENV)/.dev .venv-sky/.made
	$(BIN)/python -m pytest -n 0 -m slow tests/launch/test_pods.py

# Gradio needs an older Pillow than the rest is tested with.
.venv-app/.made: pyproject.toml constraints-app.txt
	$(PYTHON) -m venv .venv-app
	.venv-app/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-app.txt -e '.[app]' pytest hypothesis playwright
	@touch $@

app: .venv-app/.made
	.venv-app/bin/python -m pytest -m app tests/serve

wheel:
	rm -rf $(WHEEL) && mkdir -p $(WHEEL)
	$(PYTHON) -m venv $(WHEEL)/env
	$(WHEEL)/env/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir=$(WHEEL) .
	$(WHEEL)/env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(WHEEL)/*.whl
	cd $(WHEEL) && env/bin/mmre train --config=hvformer:quickstart --workdir=run
	cd $(WHEEL) && env/bin/mmre evaluate --checkpoint=run --split=test
	cd $(WHEEL) && env/bin/mmre extract --checkpoint=run --scenes=4 --out=extracted

lint: $(VENV)/.dev
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) $(QUICKSTART) build dist .pytest_cache .ruff_cache .hypothesis
	find mmre_jax launch configs tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The quickstart needs no PyTorch, so that the first run does not wait for its download.
$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "mmre_jax needs Python >= 3.11, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) (a few minutes, once) ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

# QEOT's pipelines have a detector, which pycocotools scores.
$(VENV)/.detector: $(VENV)/.run
	$(PIP) -e '.[detector]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Adding what the tests need ..."
	$(PIP) -e '.[dev]'
	@touch $@

# What drives a browser; it brings none.
$(VENV)/.browser: $(VENV)/.dev
	$(PIP) playwright
	@touch $@

# Second implementations that transformers would behave otherwise beside, and whose dependencies are there already (tests/torchvision_here.py).
$(VENV)/torchvision: $(VENV)/.dev constraints.txt
	rm -rf $@
	$(PIP) --no-deps --target=$@ torchvision==0.28.0 timm
	@touch $@
