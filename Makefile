# Everything runs in .venv, made from the locks in requirements/.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
AUDIT := .venv/audit/.ready
export PYTHONUTF8 := 1
# Bytecode is kept: hundreds of short processes of the tests would each compile the project again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo ui notebook image base deploy check test fuzz soak bench screenshots docs docs-site sbom audit install lint format lock clean-demo clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## Archive three days of synthetic calls on an embedded S3, from nothing
	@$(BIN)/python -m demo

ui: $(READY) ## The same servers with the Prefect UI, deployments and a worker, until Ctrl-C
	@$(BIN)/python -m demo.ui

notebook: $(READY) ## Open the audit report in Jupyter Lab, over the table at ARCHIVE_AUDIT_URI or the demo's
	@$(BIN)/python -m demo.notebook

image: ## Build the image recording-archive:local, with Docker; without it as root, on a stand-in for its base (buildah)
	@deployments/image.sh local

base: ## Pin the image's base to its newest digest, in the Dockerfile; needs Docker and its registry
	@digest=$$(docker buildx imagetools inspect $(PYTHON_IMAGE) --format '{{.Manifest.Digest}}') \
	  && sed 's|^ARG BASE=.*|ARG BASE=$(PYTHON_IMAGE)@'"$$digest|" Dockerfile > .Dockerfile && mv .Dockerfile Dockerfile
PYTHON_IMAGE := docker.io/library/python:3.13-slim-trixie

deploy: $(READY) ## Deploy to the Prefect server and ECS that the environment names (deployments/README.md); DIFF=1 only looks
	@$(BIN)/python -m deployments.deploy $(if $(DIFF),--diff) $(if $(RESET),--reset $(RESET))

check: $(READY) lint ## Style, types, and the tests that need no server but S3: under two minutes
	@$(BIN)/python -m pytest $(WORKERS) -m "not slow" tests/recordings tests/test_structure.py tests/test_locks.py $(PYTEST_ARGS)

test: $(READY) ## Run all tests; with FULL=1 those of flows on both S3 servers, with more drawn examples
	@$(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)
# Most tests wait for servers, which each worker has of its own, so there is a worker more than processors. Files
# stay whole; tests/conftest.py puts the longest first.
WORKERS = --numprocesses $(shell $(PYTHON) -c "import os; print(min((os.cpu_count() or 1) + 1, 4))") --dist loadfile --no-loadscope-reorder

fuzz: $(READY) ## The long versions: 100,000 broken files, 2,000 clips with every kind of damage
	@FUZZ_FILES=100000 JUDGE_CLIPS=2000 $(BIN)/python -m pytest -s tests/recordings/test_fuzz_audio.py tests/recordings/test_judge.py tests/recordings/test_opus.py

soak: $(READY) ## The long versions: 200 runs of each flow killed, 2,000 recordings with a third of requests failing, a backfill's worker killed
	@FULL=1 KILLS=200 FAULT_RECORDINGS=2000 $(BIN)/python -m pytest -s -o timeout=5000 tests/flows/test_kills.py tests/flows/test_job_kills.py tests/flows/test_erase_kills.py tests/flows/test_faults.py
	@FULL=1 BACKFILL_DAYS=10 IMAGE=1 $(BIN)/python -m pytest -s tests/flows/test_recovery.py tests/deployments/test_image.py tests/deployments/test_dockerfile.py

bench: $(READY) ## Measure what docs/performance.md claims
	@$(BIN)/python -m benchmarks.convert
	@$(BIN)/python -m benchmarks.memory
	@$(BIN)/python -m benchmarks.report
	@$(BIN)/python -m benchmarks.upkeep
	@$(BIN)/python -m benchmarks.releasing
	@$(BIN)/python -m benchmarks.fixity
	@$(BIN)/python -m benchmarks.pipeline
	@$(BIN)/python -m benchmarks.floor
	@$(BIN)/python -m benchmarks.processes
	@$(BIN)/python -m benchmarks.orchestration
	@$(BIN)/python -m benchmarks.scale
	@$(BIN)/python -m benchmarks.paper
	@$(BIN)/python -m benchmarks.growth --plot docs/images/growth.png

screenshots: $(READY) ## Take the pictures in docs/images anew, with Chromium
	@$(BIN)/python -m demo.screenshots
	@$(BIN)/python -m demo.tour

docs: $(READY) ## Write the generated documents anew
	@$(BIN)/python -m recordings.table.schema > docs/audit-table.md
	@$(BIN)/python -m recordings.savings.scenarios > docs/costs.md
	@$(BIN)/python -m recordings.savings.cost_chart > docs/images/costs.svg
	@$(BIN)/python -m deployments.estate > deployments/estate.schema.json

docs-site: $(READY) ## Render the documents and the docstrings as a site: .site/index.html
	@$(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yaml
	@$(BIN)/pdoc --docformat google --output-directory .site/api flows recordings

sbom: $(AUDIT) ## Write sbom.json, the bill of materials (CycloneDX) of what the image installs; needs no network
	@$(BIN)/python -m deployments.materials > .venv/audit/installed.txt
	@.venv/audit/bin/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --output-file sbom.json .venv/audit/installed.txt

audit: $(AUDIT) ## Look for known vulnerabilities in what the image installs; asks the package index
	@.venv/audit/bin/pip-audit --strict --progress-spinner off --disable-pip --require-hashes --requirement requirements/production.txt

install: $(READY) ## Install the locked dependencies into .venv, as every other target does first

lint: $(READY) ## Check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

lock: $(READY) ## Resolve the dependencies anew
	@$(BIN)/uv pip compile pyproject.toml $(LOCK) -o requirements/production.txt
	@$(BIN)/uv pip compile pyproject.toml --extra dev -c requirements/production.txt $(LOCK) -o requirements/development.txt
	@for set in s3-server audit uv; do \
	  $(BIN)/uv pip compile requirements/$$set.in $(LOCK) -o requirements/$$set.txt || exit 1 ; done
LOCK := --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-strip-extras

clean-demo: ## Remove the demo's data: the next demo begins from nothing
	@[ ! -d .demo ] || $(PYTHON) -m demo.program

clean: clean-demo ## Remove the demo's data, the environment and all caches
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks .site notebooks/.ipynb_checkpoints
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/development.txt requirements/s3-server.txt requirements/uv.txt
	@$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11 to 3.13 is needed; set PYTHON=python3.x")'
	@echo "Installing the locked dependencies into .venv ..."
	@$(PYTHON) -m venv .venv || { echo "On Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements/development.txt
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv/s3-server
	@$(BIN)/uv pip sync --quiet --python .venv/s3-server/bin/python --require-hashes --compile-bytecode requirements/s3-server.txt
	@touch $(READY)

$(AUDIT): $(READY) requirements/audit.txt
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv/audit
	@$(BIN)/uv pip sync --quiet --python .venv/audit/bin/python --require-hashes --compile-bytecode requirements/audit.txt
	@touch $(AUDIT)
