# The one entry for people and CI; `make help` lists the targets. Settings come from the environment or the
# command line, as in `make run PORT=9000`: make exports those variables to the programs it runs.

.DEFAULT_GOAL := help
.PHONY: help run test test-full check docs fuzz chaos bench bench-gpu gpu-test lock clean
MAKEFLAGS += --no-print-directory

# The first usable Python, else one that uv has or downloads. Each is run first: a version manager has shims for
# versions that are not installed. Python 3.14 comes late because fewer wheels exist for it.
IS_PYTHON_USABLE = 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))'
FIND_UV_PYTHON = uv python find --system --python-preference only-managed 3.13
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3.14 python3; do \
	"$$python" -c $(IS_PYTHON_USABLE) 2>/dev/null && echo "$$python" && exit; done; \
	command -v uv >/dev/null && { $(FIND_UV_PYTHON) 2>/dev/null || { uv python install 3.13 >&2 && $(FIND_UV_PYTHON); }; })

# An index with CPU builds of torch, for when pip's own index has none.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu

FIRST_PYTHON = $(or $(PYTHON),$(error No Python 3.11 to 3.14 was found, nor uv to bring one: \
	install either, or name a Python as in `make PYTHON=/path/to/python3`))
SETUP = $(FIRST_PYTHON) -m scripts.setup_venv
# Exit code 3 means that there is no CPU build of torch; the tests that need it are then left out.
SETUP_QWEN_TESTS = $(SETUP) qwen-dev --torch-index $(TORCH_CPU_INDEX) || [ $$? -eq 3 ]
# The environment that `make run` uses in the tests, and clients; without Node.js its client is left out.
SETUP_TESTS = $(SETUP) dev && $(SETUP) base && $(SETUP) openai-newest && $(SETUP) openai-1 && \
	$(SETUP) generators && $(FIRST_PYTHON) -m scripts.setup_node
BIN := .venv-dev/bin
PACKAGES := api cli shared worker scripts

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 26

run: ## set up the environment of ENGINE, then run the server until Ctrl-C
	@exec $(FIRST_PYTHON) -m cli up --torch-index $(TORCH_CPU_INDEX)

test: ## run all tests but the long ones; ARGS="-k queue" picks some
	@$(SETUP_TESTS)
	@$(SETUP_QWEN_TESTS)
	@exec $(BIN)/python -m scripts.run_tests "not full" $(ARGS)

test-full: ## run the long tests
	@$(SETUP_TESTS)
	@$(SETUP_QWEN_TESTS)
	@exec $(BIN)/python -m scripts.run_tests full $(ARGS)

check: ## linters, types, import contracts, links in the docs
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
	@$(MAKE) docs

docs: ## build the docs into build/site; a dead link fails
	@$(SETUP) dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

fuzz: ## send damaged audio to a separate server; SECONDS=60 SEED=1, REPORT=file.md for the table
	@$(SETUP) dev
	@exec $(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1) \
		$(if $(REPORT),--report $(REPORT))

chaos: ## kill, freeze and disconnect a server under load, and count the harm; JOBS, FAULTS, SEED, ROWS, ENGINE, LEASE_S, REPORT
	@$(SETUP) dev
	@exec $(BIN)/python -m tests.chaos

bench: ## measure each figure beside its goal; QUICK=1, ONLY=sync,clips, SIZE=true, REPORT=file.md
	@$(SETUP) dev
	@$(SETUP_QWEN_TESTS)
	@exec $(BIN)/python -m tests.bench

bench-gpu: ## measure the published models on a CUDA device; DEVICE=cpu tries it with the miniature
	@$(if $(filter cpu,$(DEVICE)),,$(FIRST_PYTHON) -m tests.gpu.presence bench-gpu)
	@$(SETUP) dev
	@$(if $(filter cpu,$(DEVICE)),$(SETUP_QWEN_TESTS),$(SETUP) qwen-cuda)
	@GPU=true exec $(BIN)/python -m tests.bench

gpu-test: ## check the Qwen engines on a CUDA device, and write a report; DEVICE=cpu tries it with the miniature
	@$(if $(filter cpu,$(DEVICE)),,$(FIRST_PYTHON) -m tests.gpu.presence gpu-test)
	@$(SETUP) dev
	@$(if $(filter cpu,$(DEVICE)),$(SETUP_QWEN_TESTS),$(SETUP) qwen-cuda)
	@exec $(BIN)/python -m tests.gpu

lock: ## resolve the locks in requirements/ again; ARGS=--upgrade takes newer versions
	@$(SETUP) dev
	@exec $(BIN)/python -m scripts.lock_dependencies $(ARGS)

clean: ## remove the virtual environments and all caches, but not the data folder
	rm -rf .venv .venv-* build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(PACKAGES) tests -name __pycache__ -prune -exec rm -rf {} +
