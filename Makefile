# One door for people and CI; `make help` lists what there is. Settings go in by the environment or as
# `make run PORT=9000`: make hands variables from its command line on to what it runs.

.DEFAULT_GOAL := help
.PHONY: help run test test-full check fuzz chaos bench-reliability bench-partials lock clean
MAKEFLAGS += --no-print-directory

# The first Python that runs and is in range; a version manager's shim for an absent one does not run.
IS_PYTHON_USABLE = 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c $(IS_PYTHON_USABLE) 2>/dev/null && echo "$$python" && break; done)

# Where CPU builds of torch are, if not where pip looks by itself.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

FIRST_PYTHON = $(or $(PYTHON),$(error Python 3.11, 3.12 or 3.13 is needed and none was found: \
	install one, or name it as in `make PYTHON=/path/to/python3`))
SETUP = $(FIRST_PYTHON) -m scripts.setup_venv
# Where there is no CPU build of torch (exit code 3), the tests that need it are left out.
SETUP_QWEN_TESTS = $(SETUP) qwen-dev --torch-index $(TORCH_CPU_INDEX) || [ $$? -eq 3 ]
# OpenAI's clients, as the tests drive them; without Node.js the tests of its client are left out.
SETUP_CLIENTS = $(SETUP) openai-newest && $(SETUP) openai-1 && $(FIRST_PYTHON) -m scripts.setup_node
BIN := .venv/bin
PACKAGES := api cli shared worker scripts

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 26

run: ## set up what ENGINE needs, then run the server until Ctrl-C
	@exec $(FIRST_PYTHON) -m cli.up.bootstrap --torch-index $(TORCH_CPU_INDEX)

test: ## set up and run all tests but those that take long; ARGS="-k queue" picks some
	@$(SETUP) dev
	@$(SETUP_QWEN_TESTS)
	@$(SETUP_CLIENTS)
	@exec $(BIN)/python -m scripts.run_tests "not full" $(ARGS)

test-full: ## set up and run the tests that take long
	@$(SETUP) dev
	@$(SETUP_QWEN_TESTS)
	@$(SETUP_CLIENTS)
	@exec $(BIN)/python -m scripts.run_tests full $(ARGS)

check: ## linters, types, import contracts
	@$(SETUP) dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(PACKAGES) tests
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry .
	$(BIN)/vulture
	$(BIN)/codespell
	$(BIN)/hadolint Dockerfile.api Dockerfile.worker
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml

fuzz: ## send damaged audio to a server of its own; SECONDS=60 SEED=1, REPORT=file.md for the table
	@$(SETUP) dev
	@exec $(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1) \
		$(if $(REPORT),--report $(REPORT))

chaos: ## kill, freeze and cut off a server under load, and count the harm; JOBS, FAULTS, SEED, POOL, ENGINE, LEASE_S, REPORT
	@$(SETUP) dev
	@exec $(BIN)/python -m tests.chaos

bench-reliability: ## measure overhead, cancels, losses and listeners beside their goals; ONLY, CALLS, ROUNDS, LISTENERS, REPORT
	@$(SETUP) dev
	@exec $(BIN)/python -m tests.bench

bench-partials: ## how early the first text of a minute comes, and what a short first window costs; SPEECH_DIR
	@$(SETUP) dev
	@$(SETUP_QWEN_TESTS)
	@$(BIN)/python -m tests.bench.partials whisper
	@if [ -e .venv-qwen/qwen-cpu.stamp ]; then .venv-qwen/bin/python -m tests.bench.partials qwen3; fi

lock: ## recreate the locks in requirements/; ARGS=--upgrade takes newer versions
	@$(SETUP) dev
	@exec $(BIN)/python -m scripts.lock_dependencies $(ARGS)

clean: ## remove the virtual environments and all caches; the data folder stays
	rm -rf .venv .venv-qwen .venv-qwen-cuda .venv-qwen-vllm .venv-openai-* build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -prune -exec rm -rf {} +
