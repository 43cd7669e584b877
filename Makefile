# Everything from a fresh clone: each target makes the environment it needs, once, and again when the pins change.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt
SERVER := .venv/server.done
EVAL := .venv/eval.done
DEV := .venv/dev.done
STUBS := .venv-proto/done
AGENTS := .venv-frameworks/done
AGENT_TESTS := tests/client/test_pipecat.py tests/client/test_livekit.py tests/client/test_framework_docs.py tests/http/test_frameworks.py
PORT ?= 50051
FAST := tests/api tests/prompt tests/scheduler tests/checkpoint tests/ops tests/engine/test_loop.py tests/engine/test_outboxes.py tests/engine/test_progress.py tests/runner/test_pacer.py tests/service/test_requests.py tests/service/test_errors.py tests/service/test_turns.py tests/test_docs.py
# What judges durations runs after all else, two files at a time: most of it waits. ARGS choose tests of their own.
TESTS = $(if $(ARGS),$(BIN)/pytest $(ARGS),$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal -m "not gpu and not timing" && $(BIN)/pytest -n 2 --dist loadfile -m "timing and not gpu" && if [ -e $(AGENTS) ]; then .venv-frameworks/bin/pytest -n 2 --dist loadfile $(AGENT_TESTS); else echo "skipped: $(AGENT_TESTS) (no environment with the frameworks)"; fi)

.PHONY: help demo page serve test test-fast check audit lock sbom proto docs image abuse soak bench bench-gpu test-gpu eval-voice
help:
	@echo "make demo | page | serve | test | test-fast | check | audit | lock | sbom | proto | docs | image | abuse | soak | bench | bench-gpu | test-gpu | eval-voice"
	@echo "(README.md says more)"

demo: $(SERVER)
	$(BIN)/python -m clients.demo

# A server with the embedded voice and a page to hear it.
page: $(SERVER)
	$(BIN)/python -m clients.page $(ARGS)

serve: $(SERVER)
	$(BIN)/qwentts-grpc serve --port $(PORT) $(ARGS)

test: $(DEV) $(AGENTS)
	$(TESTS)

test-gpu: $(DEV)
	$(BIN)/pytest -m gpu $(ARGS)

# The inner loop: what runs in a minute.
test-fast: $(DEV)
	$(BIN)/pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not gpu and not timing" $(FAST)

check: $(DEV) $(STUBS) $(AGENTS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	$(BIN)/buf breaking proto --against proto/released.binpb
	.venv-proto/bin/python tools/gen_proto.py --check
	$(BIN)/python -m tools.audit
	$(TESTS)

audit: $(DEV)
	$(BIN)/python -m tools.audit

# The server's packages for every platform, each with its digests: after a change of a pin.
lock: $(DEV)
	env -u PIP_FIND_LINKS $(BIN)/uv pip compile deploy/requirements.in -c constraints.txt -o deploy/requirements.txt --quiet \
		--generate-hashes --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
		--no-emit-package qwentts-client --no-emit-package qwentts-grpc

# A bill of materials of what the lock installs, as CycloneDX.
sbom: $(DEV)
	$(BIN)/cyclonedx-py requirements deploy/requirements.txt --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file qwentts-grpc.cdx.json

# With a release goes `buf build proto --exclude-source-info -o proto/released.binpb`: what clients may rely on from then on.
proto: $(STUBS)
	.venv-proto/bin/python tools/gen_proto.py

# The pages of docs/ as site/; a broken link fails.
docs: $(DEV)
	$(BIN)/mkdocs build --strict

# The image without a daemon, built and tried: as root, with buildah.
image:
	deploy/build_image.sh $(or $(TARGET),cpu)

abuse: $(DEV)
	$(BIN)/python -m tests.abuse $(ARGS)

soak: $(SERVER)
	$(BIN)/python -m benchmarks.soak $(ARGS)

bench: $(DEV)
	$(BIN)/python -m benchmarks.cpu $(ARGS)

bench-gpu: $(SERVER)
	$(BIN)/python -m benchmarks.gpu $(ARGS)

eval-voice: $(EVAL)
	$(BIN)/python -m training.evaluate --picture eval-voice.svg $(ARGS)

# torch goes first: a package that depends on it must find it there, and not choose a build of its own.
$(SERVER): pyproject.toml clients/python/pyproject.toml constraints.txt
	@echo "making .venv with the server's packages (torch among them: minutes on a slow line)"
	$(PYTHON) -m venv .venv
	$(PIP) torch
	-$(BIN)/pip uninstall -qq -y qwentts-grpc # one from before the client's split would take the command with it later
	$(PIP) -e clients/python -e '.[server,http]'
	touch $@

$(EVAL): $(SERVER) training/evaluate/requirements.txt
	@echo "adding a speech recogniser"
	$(PIP) -r training/evaluate/requirements.txt
	touch $@

# qwen-tts pins packages that only its own demo needs, so it comes without its dependencies.
$(DEV): $(EVAL) tests/parity/requirements.txt tools/install_tools.sh
	@echo "adding the tests' packages, and qwen-tts to compare with"
	$(PIP) -e clients/python -e '.[server,http,dev]' -r tests/parity/requirements.txt
	$(PIP) --no-deps qwen-tts
	SYSTEM_PACKAGES=$(SYSTEM_PACKAGES) tools/install_tools.sh $(BIN)/pip
	touch $@

# The stubs are made with the oldest runtime that they must serve, which cannot share an environment with the newest.
$(STUBS): Makefile
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/pip install -qq --disable-pip-version-check grpcio-tools==1.74.0 protobuf==6.31.1 'setuptools<81'
	touch $@

# Agents' frameworks ask for other packages than the server. What cannot be had is named.
$(AGENTS): clients/python/pyproject.toml clients/pipecat/pyproject.toml clients/livekit/pyproject.toml tests/client/requirements.txt
	@echo "making .venv-frameworks with Pipecat and LiveKit Agents"
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/pip install -qq --disable-pip-version-check -r tests/client/requirements.txt \
		-e clients/python -e clients/pipecat -e clients/livekit && touch $@ || echo "skipped: the frameworks could not be installed"
