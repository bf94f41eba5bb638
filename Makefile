# VidTwin: `make help` lists what there is to make. Every target sets the project up first.

PYTHON ?= python3
DATA   ?=
CONFIG ?=
CACHE  ?=
GPUS   ?= 1
ARGS   ?=
DEVICE ?= cuda

BUILTIN := datasets/builtin
ROOT    := $(or $(DATA),$(BUILTIN))
# Data or latents of one's own ask for the paper's sizes, the built-in set for the demo's.
SCALE   := $(if $(DATA)$(filter-out runs/demo/latents,$(CACHE)),base,demo)
RUN     ?= $(SCALE)
LATENTS := $(or $(CACHE),runs/$(RUN)/latents)
STAGE1  := $(or $(CONFIG),configs/stage1/$(SCALE).yaml)
STAGE2  := $(or $(CONFIG),configs/stage2/$(if $(filter demo,$(SCALE)),demo,paper).yaml)
DRY_RUN := $(filter --dry_run --dry-run,$(ARGS))
VENV    := .venv/bin
SETUP   := .venv/.complete
# The showcase that comes with the project, where no run is named.
SHOWN   := $(if $(filter file,$(origin RUN)),,--weights runs/$(RUN))
PARALLEL := -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder
# One process needs no launcher.
LAUNCH  := $(if $(filter 1,$(GPUS)),$(VENV)/python -m,$(VENV)/python -m torch.distributed.run --nproc-per-node $(GPUS) -m --)

.DEFAULT_GOAL := help
.PHONY: help setup demo app ablation test test-full lint stage1 stage2 sample eval bench check-gpu clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo 'DATA=dir     data set: UCF-101/ + ucfTrainTestlist/, any folder of videos, or shards (default: the built-in set)'
	@echo 'CONFIG=file  configuration (default: demo without DATA; with it base, and paper for stage 2)'
	@echo 'RUN=name     run, in runs/<name> (default: demo, or base with DATA or CACHE; app, sample: weights/showcase)'
	@echo 'GPUS=n       processes (default 1)'
	@echo 'CACHE=dir    latents for stage 2 (default: runs/<RUN>/latents)'
	@echo 'DEVICE=cpu   check-gpu small, on the CPU'
	@echo 'ARGS="..."   more arguments, such as "--optimizer.lr 2e-4" or "--dry_run"'

setup: $(SETUP) ## make .venv and install the project into it

$(SETUP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: Python 3.11 or newer is needed; name one with PYTHON=/path/to/python3.11'; exit 2; }
	@command -v g++ > /dev/null || { echo 'error: g++ is needed (DeepSpeed compiles with it): apt install g++'; exit 2; }
	@[ -d .venv ] || [ $$(df -Pk . | awk 'NR == 2 {print int($$4 / 1048576)}') -ge 6 ] || \
	  { echo 'error: 6 GB of free disk are needed for the packages; make room on this one'; exit 2; }
	@[ -x $(VENV)/python ] || $(PYTHON) -m venv .venv
	@echo 'installing the packages (a few minutes the first time)'
	@$(VENV)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(SETUP)

demo: $(SETUP) ## data, stage one, cache, stage two, samples, metrics in runs/demo: minutes on two cores
	@$(VENV)/python -m eval.demo --run runs/demo --data $(BUILTIN)

app: $(SETUP) ## take videos apart, swap, generate and look inside in the browser (default: weights/showcase)
	@$(VENV)/python -m app $(SHOWN) $(ARGS)

ablation: $(SETUP) ## what each ingredient of the generator gives, after `make demo`: two hours on two cores
	@$(VENV)/python -m eval.ablation --run runs/$(RUN) --data $(ROOT) --out runs/ablation $(ARGS)

test: $(SETUP) ## the tests, as many files at a time as there are cores
	@$(VENV)/python -m pytest $(PARALLEL)

test-full: $(SETUP) ## the tests with their long loops
	@$(VENV)/python -m pytest $(PARALLEL) -m 'full or not full'

lint: $(SETUP) ## ruff and the import contract
	@$(VENV)/ruff check .
	@$(VENV)/ruff format --check .
	@$(VENV)/lint-imports

$(BUILTIN)/dataset.json: | $(SETUP)
	@$(VENV)/python -m data.synthetic $(BUILTIN)

# The built-in data set is made when nothing else is given.
data: $(if $(DATA)$(DRY_RUN),,$(BUILTIN)/dataset.json)
.PHONY: data

stage1: $(SETUP) data ## train VidTwin, then cache the data set's twin latents
	@$(LAUNCH) autoencoder.train --config $(STAGE1) --data.root $(ROOT) --run runs/$(RUN) $(ARGS)
ifeq ($(DRY_RUN),)
	@$(LAUNCH) autoencoder.cache --run runs/$(RUN)
endif

stage2: $(SETUP) ## train the DiT on a cache
	@$(LAUNCH) generator.train --config $(STAGE2) --cache $(LATENTS)/train --autoencoder $(LATENTS)/../weights/ema \
	  --run runs/$(RUN)/generator $(ARGS)

sample: $(SETUP) ## generate videos: runs/<RUN>/samples (default: of weights/showcase, runs/showcase/samples)
	@$(LAUNCH) generator.sample $(SHOWN) $(ARGS)

eval: $(SETUP) ## measure a run and write its report, runs/<RUN>/report.html
	@$(VENV)/python -m eval.report --run runs/$(RUN) $(addprefix --data ,$(DATA)) $(ARGS)

bench: $(SETUP) ## clips/s, FLOP/s and memory of encoding, decoding and training (default: base)
	@$(VENV)/python -m autoencoder.bench $(or $(CONFIG),configs/stage1/base.yaml) --output runs/bench.json $(ARGS)

check-gpu: $(SETUP) ## check and measure everything on the GPU, in at most 8 minutes
	@$(VENV)/python -m eval.check --device $(DEVICE) --out runs/check-gpu $(ARGS)

clean: ## remove runs, the built-in data set and what tools left (not .venv)
	@rm -rf runs datasets .pytest_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info build
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
