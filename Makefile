# Every command of a developer. `make` lists them.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
EFFORT ?= 1

# Stamps and the tools live in the virtual environment: removing it starts afresh.
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PATH := $(CURDIR)/$(BIN):$(PATH)

CORE_SOURCES := $(shell find cpp/include cpp/src cpp/datapath cpp/bindings cpp/cmake -type f ! -name '*.bpf.c' 2>/dev/null)
BPF_OBJECT := build/bpf/fleetmesh.bpf.o
PACKAGES := $(shell find src -name __init__.py)
CPP_FILES := $(shell find cpp -name '*.cpp' -o -name '*.hpp' -o -name '*.h' -o -path 'cpp/fuzz/*.c')
REAL_TESTS := $(wildcard tests/real/test_*.py)
EDITABLE_BUILD = $(shell $(BIN)/python -c 'import sys; print("build/editable-" + sys.implementation.cache_tag)')
EDITABLE = -C cmake.define.FLEETMESH_DEVELOPER=ON -C cmake.define.FLEETMESH_WARNINGS_AS_ERRORS=ON -e '.[cli,etcd]'

.DEFAULT_GOAL := help
.PHONY: help demo develop core check lint types bpf unit-cpp unit-python test kernel tidy standalone asan tsan fuzz property real bench \
        real-ahead bench-gate bench-peers bench-policy plots stubs protos format constraints clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

demo: $(if $(wildcard $(STAMPS)/develop),develop,$(STAMPS)/user)  ## form a mesh from examples/, fail a cluster over, print what moved
	$(BIN)/fleetmesh demo

develop: $(STAMPS)/develop  ## the virtual environment with all tools, and the package installed in place

core:  ## rebuild the C++ core in place, incrementally (after `make develop`)
	cmake --build $(EDITABLE_BUILD) --target _core
	cmake --install $(EDITABLE_BUILD) --component python \
	  --prefix "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" > /dev/null

check: develop lint types bpf unit-cpp unit-python  ## what every change must pass, in under three minutes

test: real-ahead check kernel tidy property standalone asan tsan real  ## check, the kernel programs, clang-tidy, more property tests, the core alone, sanitizers, real servers

lint: develop
	ruff check .
	ruff format --check .
	clang-format --dry-run --Werror $(CPP_FILES)

types: develop
	mypy

# The tests stand in the tree of the installed core, so that it is compiled once.
unit-cpp: develop
	cmake --build $(EDITABLE_BUILD)
	ctest --test-dir $(EDITABLE_BUILD) --output-on-failure --no-tests=error -j $(JOBS)

# A quarter of the usual examples, so that a check keeps within its time; `make property` tries them all.
unit-python: develop
	FLEETMESH_EFFORT=0.25 $(BIN)/python -m pytest -q -n $(JOBS) -m 'not real and not sanitizer and not kernel'

bpf: $(BPF_OBJECT)  ## compile the decision procedure into programs for the kernel

$(BPF_OBJECT): scripts/build-bpf $(wildcard cpp/datapath/*) | $(STAMPS)/clang
	scripts/build-bpf $@

kernel: develop bpf  ## load the programs into this machine's kernel, if it lets us, and run packets through them
	$(BIN)/python -m pytest -q -rs -m kernel tests/bpf

tidy: develop  ## clang-tidy over the core, its bindings and its tests
	scripts/tidy

standalone: develop  ## the core and its tests with assertions, with no Python in the build
	cmake --preset dev > build/dev.log || (cat build/dev.log; exit 1)
	cmake --build --preset dev
	ctest --preset dev -j $(JOBS)

asan: develop  ## C++ tests, and the Python tests that reach the core, under ASan and UBSan
	scripts/sanitize asan

tsan: develop  ## the same under ThreadSanitizer, for what uses threads
	scripts/sanitize tsan

fuzz: develop $(STAMPS)/clang  ## the fuzzers of cpp/fuzz, each for FUZZ_SECONDS (60; before a release 600)
	scripts/fuzz

property: develop  ## the property tests on all their examples; EFFORT=10 on ten times as many
	FLEETMESH_EFFORT=$(EFFORT) $(BIN)/python -m pytest -q -n $(JOBS) --timeout 900 tests/property

real: develop  ## tests against real servers and Cilium's own packages (needs Go)
ifeq ($(REAL_TESTS),)
	@echo 'tests/real has no tests'
else
	scripts/find-etcd
	$(BIN)/python tests/real/servers.py
	$(BIN)/python -m pytest -q -m real
endif

# A first build of the real servers takes minutes: it begins at once, behind everything else.
real-ahead: $(STAMPS)/tools
	@mkdir -p build
	@nice -n 19 $(BIN)/python tests/real/servers.py > build/real.log 2>&1 < /dev/null &

bench: develop  ## benchmarks of the core and of the package
	cmake --preset release > build/release.log || (cat build/release.log; exit 1)
	cmake --build --preset release
	@for program in $(patsubst cpp/bench/%.cpp,build/release/%,$(wildcard cpp/bench/*.cpp)); do $$program || exit 1; done
	$(BIN)/python -m pytest -q -n 0 benchmarks
	for affinity in none local; do $(BIN)/python benchmarks/scale.py $$affinity || exit 1; done
	$(BIN)/python benchmarks/reachability.py
	$(BIN)/python benchmarks/state.py --clusters 10 --seconds 5 || test $$? = 3

bench-gate: develop  ## instructions of the Maglev fills and of the data path against their bars (needs valgrind)
	cmake --preset release > build/release.log || (cat build/release.log; exit 1)
	cmake --build --preset release --target maglev_bench datapath_bench
	$(BIN)/python benchmarks/maglev_gate.py
	$(BIN)/python benchmarks/datapath_gate.py

bench-peers: develop  ## Maglev tables beside Cilium's and others' (needs Go)
	cmake --preset release > build/release.log || (cat build/release.log; exit 1)
	cmake --build --preset release --target maglev_bench
	$(BIN)/python benchmarks/peers/compare.py

bench-policy: develop  ## policies beside Cilium's own packages, some minutes (needs Go)
	cmake --preset release > build/release.log || (cat build/release.log; exit 1)
	cmake --build --preset release --target policy_bench
	$(BIN)/python benchmarks/peers/policy.py --big

plots: develop $(STAMPS)/plots  ## draw docs/images anew, the peers' ratios measured in this run (needs Go)
	cmake --preset release > build/release.log || (cat build/release.log; exit 1)
	cmake --build --preset release --target maglev_bench
	$(BIN)/python benchmarks/plots.py

stubs: develop  ## write src/fleetmesh/_core.pyi anew from the built core
	$(BIN)/python scripts/generate_stubs.py --write

protos: $(STAMPS)/venv  ## write what is made of .proto files anew
	$(BIN)/python scripts/generate_protos.py

format: develop  ## format Python and C++, and mend what ruff can
	ruff check --fix .
	ruff format .
	clang-format -i $(CPP_FILES)

constraints: $(STAMPS)/venv  ## resolve all dependencies anew into constraints.txt
	$(BIN)/python scripts/resolve_constraints.py

clean:  ## remove everything that was built
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'fleetmesh needs Python 3.11 or newer; name one with `make PYTHON=...`' >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	mkdir -p $(STAMPS) build
	touch $@

# What a user does: a plain install with nothing of a developer's.
$(STAMPS)/user: pyproject.toml constraints.txt CMakeLists.txt $(CORE_SOURCES) $(shell find src -name '*.py') $(shell find examples -type f) | $(STAMPS)/venv
	$(PIP) install -c constraints.txt '.[cli]'
	touch $@

$(STAMPS)/tools: pyproject.toml constraints.txt | $(STAMPS)/venv
	$(PIP) install -c constraints.txt pip
	$(PIP) install -c constraints.txt --group dev
	touch $@

$(STAMPS)/plots: pyproject.toml constraints.txt | $(STAMPS)/tools
	$(PIP) install -c constraints.txt --group plots
	touch $@

# The editable install knows the packages that were there when it was made.
$(STAMPS)/develop: $(STAMPS)/tools $(STAMPS)/gtest pyproject.toml CMakeLists.txt $(CORE_SOURCES) $(PACKAGES)
	$(PIP) install -c constraints.txt --no-build-isolation $(EDITABLE)
	rm -f $(STAMPS)/user
	touch $@

# GoogleTest comes from the system: the core's build downloads nothing.
$(STAMPS)/gtest: | $(STAMPS)/tools
	scripts/require-googletest
	touch $@

# As does the compiler for the kernel, which also builds the fuzzers.
$(STAMPS)/clang: | $(STAMPS)/venv
	scripts/require-clang
	touch $@
