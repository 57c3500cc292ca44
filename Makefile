# The commands of this project. Each makes .venv by itself, installs what it needs, and is quick the second time.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
COVERAGE := build/coverage.json
COMPILED := mlx_model/cpu/kernels/*,mlx_model/cpu/attention.py,mlx_model/cpu/layer.py

.PHONY: help chat test coverage test-clients lint kernel-texts kernels-cuda metal-syntax metal-check fuzz torture bench roofline launches bench-harmony bench-constraint bench-browse bench-tui bench-memory bench-streaming bench-quality bench-peers bench-rows bench-busy bench-server bench-lookup bench-cpu bench-stages bench-finetune screenshots demo-model demo-adapter eval-demo oracle clean

help:
	@echo "make chat        open the chat (with no terminal: answer the prompt on standard input)"
	@echo "make test        run the tests on all cores; print the slowest"
	@echo "make coverage    run them likewise, in a fifth more time, and print which lines they run"
	@echo "make test-clients run other programs against the server: the Agents SDK, LangChain, llm, Codex and more (600 MB)"
	@echo "make lint        run ruff, mypy and typos"
	@echo "make bench       time a model on this machine (MODEL=demo, or another)"
	@echo "make kernel-texts write every text that MLX has Metal's compiler read to OUT (build/metal)"
	@echo "make metal-syntax on a Mac: have Apple's compiler read every kernel"
	@echo "make metal-check on a Mac: run the tests of the Metal kernels on its GPU"
	@echo "make kernels-cuda compile the kernels' text for an NVIDIA GPU, and run it there (or on this CPU alone)"
	@echo "make roofline    print what bandwidth allows on each Apple chip (a model, not a measurement)"
	@echo "make launches    count the GPU launches of a decoded token, beside mlx-lm's"
	@echo "make fuzz        try Harmony, the weights' headers and the server on far more random input (FUZZ=200000 sequences)"
	@echo "make torture     play random games at the screen, kill the chat at random moments (MONKEY=300 games, KILLS=40)"
	@echo "make bench-harmony time Harmony's parser beside openai-harmony's"
	@echo "make bench-constraint time grammars, bound and free decoding; check that answers keep to their form"
	@echo "make bench-browse count the tokens of a browse of 27 calls at several sizes of context"
	@echo "make bench-tui   time the screen beside a naive one, at 100 tokens a second"
	@echo "make bench-memory hold a full-size model to 11.45 GB and print the peak (writes 17 GB to BENCH_DIR)"
	@echo "make bench-streaming read experts from the disk under 5.3, 8 and 10 GB, beside llama.cpp (writes 28 GB to BENCH_DIR)"
	@echo "make bench-quality print what fewer dense bits cost (writes 3.3 GB to BENCH_DIR)"
	@echo "make bench-server count what the server computes for a second turn, beside llama.cpp's and mlx-lm's; time 1, 4, 16 clients"
	@echo "make bench-lookup answer edits and quotes with guesses from the prompt and without (MODEL=demo, or another)"
	@echo "make bench-cpu   time the CPU's kernels beside the memory's speed (BUSY=N: beside N endless loops)"
	@echo "make bench-stages time a token whose last layers are in another process"
	@echo "make bench-peers compare with llama.cpp and mlx-lm at full size (builds llama.cpp, writes 28 GB to BENCH_DIR)"
	@echo "make bench-rows  time 1, 2, 4 and 8 answers at once beside llama.cpp and mlx-lm at full size (28 GB in BENCH_DIR)"
	@echo "make bench-finetune compare a step of training with peft's, and its memory with the plan (writes 3.3 GB to BENCH_DIR)"
	@echo "make bench-busy  time the demo model and the full size beside busy processes"
	@echo "make screenshots take the pictures of the README again"
	@echo "make eval-demo   print the demo model's held-out table"
	@echo "make demo-model  train the demo model again (PyTorch, some hours)"
	@echo "make demo-adapter train an adapter with which the demo model thinks in a toy language (some minutes)"
	@echo "make oracle      write the reference logits and gradients again (PyTorch, transformers, peft)"
	@echo "make clean       remove .venv and caches"

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "gptoss-chat needs Python 3.11 or newer (on a Mac: brew install python); then try again." >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON)" >&2
	@"$(PYTHON)" -m venv $(VENV) </dev/null >&2 || { rm -rf $(VENV); exit 1; }

# A stamp per extra: make installs again only when pyproject.toml is newer. What pip says goes to
# standard error, so that `echo prompt | make -s chat` prints the answer alone.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV) </dev/null >&2
	@echo "Installing gptoss-chat (once; a few minutes at most)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . </dev/null >&2
	@touch $@

$(VENV)/.installed-%: pyproject.toml $(VENV)/.installed
	@echo "Installing the extra [$*]" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' </dev/null >&2
	@touch $@

chat: $(VENV)/.installed
	@$(BIN)/gptoss-chat

# Each process gets a contiguous part of the suite, so that it makes few fixtures twice; who is done first takes over.
# Bytecode is kept even where the environment says otherwise: the tests start the program some hundred times.
PYTEST := pytest --numprocesses auto --dist worksteal --durations 10

test coverage: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.installed-test
	@$(BIN)/python -m $(PYTEST)

# pytest's closing line comes before the table. Below the threshold slipcover leaves its probes where they are: to take
# one out costs it a look at all functions, as much as some ten thousand runs of the line. Its probes are nothing that
# numba could compile, so what is compiled has none.
coverage: $(VENV)/.installed-test
	@mkdir -p build
	@$(BIN)/python -m slipcover --threshold 20000 --source app,mlx_model,metal --omit '$(COMPILED)' --json --out $(COVERAGE) \
		-m $(PYTEST) || failed=$$?; \
	$(BIN)/python -m tests.coverage $(COVERAGE); exit $${failed:-0}

# Where npm is missing, the programs of Node are skipped.
build/clients/.installed: tests/clients/node/package.json
	@mkdir -p build/clients
	@cp tests/clients/node/package.json build/clients/package.json
	@! command -v npm >/dev/null || npm install --prefix build/clients --no-audit --no-fund --loglevel error >&2
	@touch $@

test-clients: $(VENV)/.installed-clients build/clients/.installed
	@$(BIN)/python -m pytest -rs tests/clients

lint: $(VENV)/.installed-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/typos

bench: $(VENV)/.installed
	@$(BIN)/gptoss-chat bench --model $(or $(MODEL),demo)

kernel-texts: $(VENV)/.installed-test
	@$(BIN)/python -m tests.msl.texts $(or $(OUT),build/metal)

metal-syntax: $(VENV)/.installed-test
	@$(BIN)/python -m tests.metal.syntax

metal-check: $(VENV)/.installed-test
	@$(BIN)/python -m tests.metal.on_gpu

# On a machine without a GPU it leaves build/kernels-cuda.pyz for one that has it (ARCHITECTURE=sm_90, an H100's).
kernels-cuda: $(VENV)/.installed-cuda
	@$(BIN)/python -m tests.msl.cuda.kernels $(if $(ARCHITECTURE),--architecture $(ARCHITECTURE))

roofline: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.roofline

launches: $(VENV)/.installed-peers
	@$(BIN)/python -m tests.benchmarks.launches

# As many random and as many mutated sequences; a tenth as many conversations beside openai-harmony, and as many headers.
# Half as many requests of each of the server's APIs.
fuzz: $(VENV)/.installed-test
	@HARMONY_FUZZ=$(or $(FUZZ),200000) WEIGHTS_FUZZ=$$(($(or $(FUZZ),200000) / 10)) \
		SERVER_FUZZ=$$(($(or $(FUZZ),200000) / 2)) $(BIN)/python -m pytest \
		tests/mlx_model/harmony/test_fuzz.py tests/mlx_model/harmony/test_render.py tests/mlx_model/harmony/test_parse.py \
		tests/mlx_model/weights/test_header_fuzz.py tests/app/server/test_fuzz.py

# Left out of `make test` by norecursedirs in pyproject.toml.
torture: $(VENV)/.installed-test
	@MONKEY=$(or $(MONKEY),300) KILLS=$(or $(KILLS),40) $(BIN)/python -m pytest --numprocesses auto tests/torture

bench-cpu: $(VENV)/.installed-test
	@$(BIN)/python -m tests.benchmarks.cpu_kernels --busy $(or $(BUSY),0)

bench-stages: $(VENV)/.installed-test
	@$(BIN)/python -m tests.benchmarks.stages

bench-harmony: $(VENV)/.installed-test
	@$(BIN)/python -m tests.benchmarks.harmony

bench-constraint: $(VENV)/.installed-test
	@$(BIN)/python -m tests.benchmarks.constraint

bench-browse: $(VENV)/.installed-test
	@$(BIN)/python -m tests.benchmarks.browse

bench-tui: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.tui

bench-memory: $(VENV)/.installed-peers
	@$(BIN)/python -m tests.benchmarks.memory

bench-finetune: $(VENV)/.installed-oracle
	@$(BIN)/python -m tests.benchmarks.finetune

bench-quality: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.quality

# llama.cpp as a peer, in an environment of its own. Where it can't be built the benchmarks go on without it.
LLAMA := build/llama.cpp

$(LLAMA)/.installed: tests/benchmarks/peers/build_llama_cpp.sh | $(BIN)/python
	@echo "Building llama.cpp (once; some minutes)" >&2
	@mkdir -p build
	@sh $< "$(PYTHON)" $(LLAMA) </dev/null >$(LLAMA).log 2>&1 && touch $@ || \
		echo "llama.cpp could not be built: $(LLAMA).log says why" >&2

bench-streaming: $(VENV)/.installed-test $(LLAMA)/.installed
	@$(BIN)/python -m tests.benchmarks.streaming

bench-server: $(VENV)/.installed-test $(VENV)/.installed-peers $(LLAMA)/.installed
	@$(BIN)/python -m tests.benchmarks.server

bench-lookup: $(VENV)/.installed-test
	@$(BIN)/python -m tests.benchmarks.lookup $(or $(MODEL),demo)

bench-peers: $(VENV)/.installed-peers $(LLAMA)/.installed
	@$(BIN)/python -m tests.benchmarks.peers --rounds $(or $(ROUNDS),2) --models $(or $(MODELS),20b)

bench-rows: $(VENV)/.installed-peers $(LLAMA)/.installed
	@$(BIN)/python -m tests.benchmarks.rows --rounds $(or $(ROUNDS),2) --model $(or $(MODEL),20b)

bench-busy: $(VENV)/.installed
	@$(BIN)/python -m tests.benchmarks.peers --busy 0 1 2 --prompts 32 --models demo $(or $(MODELS),20b) --only gptoss-chat

screenshots: $(VENV)/.installed
	@$(BIN)/python -m tests.screenshots

oracle: $(VENV)/.installed-oracle
	@$(BIN)/python -m tests.oracle.write_logits
	@$(BIN)/python -m tests.oracle.write_adapter

eval-demo: $(VENV)/.installed-eval
	@$(BIN)/python -m assets.training.evaluate

# Steps, not time, decide: a busy machine gives the same model. An interrupted run goes on where it was.
demo-model: $(VENV)/.installed-train
	@$(BIN)/python -m assets.training.train --out build/demo
	@$(BIN)/python -m assets.training.export build/demo assets/demo

# The demo model learns to think in a toy language where it is asked to: some minutes on a CPU.
demo-adapter: $(VENV)/.installed
	@$(BIN)/python -m assets.training.toy_language build/toy.jsonl --count 500
	@$(BIN)/gptoss-chat finetune --model demo --data build/toy.jsonl --out toy \
		--steps 90 --batch 6 --learning-rate 4e-3 --warmup 0.1 --restart

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
