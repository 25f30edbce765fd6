# Two commands: make bench, make test; make bench-quantizers compares quantizers, make bench-gate the
# rules that tell a slower engine. All install what they need into .venv first; a GPU's runtimes are
# extras of pyproject.toml: make bench EXTRAS=tensorrt ARGS="--backend tensorrt --models paper".
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
EXTRAS ?=
# Every real runtime that constraints.txt installs; a missing one is red, not skipped.
BACKENDS ?= openvino,onnxruntime,pytorch
# What a push is tested with; a nightly run takes a set, MODELS=default or MODELS=paper, or names.
MODELS ?= unet
comma := ,
INSTALLED := $(VENV)/.installed$(addprefix -,$(subst $(comma),-,$(EXTRAS)))
PYTEST := $(VENV)/bin/python -m pytest --timeout 1200
PIPELINE = --vg-models $(MODELS) --vg-backend $(BACKENDS) --vg-launches 2
# Ratios of times say something on a quiet host alone: a push asserts none of them, `pytest suites/engines` does.
SPEED := test_int8_engine_is_faster test_fake_engine_is_as_slow_as_fp32
UNTIMED := $(SPEED:%=--deselect suites/engines/test_latency.py::%)
# The slowest files first, so that none of them is left for one process at the end.
APART := suites/contract suites/formulas suites/unit
# What the TensorRT backend is tested against: bindings of four versions, 5 MB; and, where CI is set,
# TensorRT-RTX's libraries, 146 MB. Without them these tests are skipped and say so.
CONTRACT := suites/contract/bindings.txt $(if $(CI),suites/contract/rtx.txt)
# Where CI is set: a second release of OpenVINO to compare with, 60 MB, and the oldest Python of a worker.
OTHER := $(if $(CI),.venv-openvino-2025 $(if $(shell command -v python3.10),.venv-python-3.10))
FETCHED := $(patsubst suites/contract/%.txt,$(VENV)/wheels/.%,$(CONTRACT))

.PHONY: bench bench-quantizers bench-gate test lint clean

bench: $(INSTALLED)
	$(VENV)/bin/voxgate bench $(ARGS)

bench-quantizers: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks.quantizers $(ARGS)

bench-gate: $(INSTALLED)
	$(VENV)/bin/python -m benchmarks.gate_rules $(ARGS)

# First what measures nothing, two files at a time; then the real pipeline, alone. With ARGS both in one.
test: $(INSTALLED) lint $(FETCHED) $(OTHER:%=%/.installed)
ifeq ($(ARGS),)
	@start=$$(date +%s); \
		OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder --benchmark-disable $(APART); apart=$$?; \
		middle=$$(date +%s); \
		$(PYTEST) $(PIPELINE) $(UNTIMED) suites/engines suites/real; whole=$$?; \
		echo "$(APART): $$((middle - start)) s; suites/engines suites/real: $$(($$(date +%s) - middle)) s"; \
		[ $$whole -eq 0 ] && exit $$apart; exit $$whole
else
	$(PYTEST) -o testpaths=suites $(PIPELINE) $(ARGS)
endif

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "VoxGate needs Python 3.11 or newer; run make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "python3 cannot make virtual environments here; install its venv package"; exit 1; }
	@echo "installing into $(VENV); the first time this takes a minute or more"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable ".[dev$(addprefix $(comma),$(EXTRAS))]"
	@touch $@

# One wheel a line: two versions of one package are no single set of requirements.
$(VENV)/wheels/.%: suites/contract/%.txt $(INSTALLED)
	@mkdir -p $(@D)
	@while read -r wheel; do \
		echo "$$wheel" | $(VENV)/bin/python -m pip download --quiet --disable-pip-version-check \
			--no-deps --only-binary :all: --require-hashes --dest $(@D) --requirement /dev/stdin \
			|| { echo "$${wheel%% *} was not fetched; its tests will be skipped"; exit 0; }; \
	done < $<; touch $@

# A worker's packages alone, for the interpreter that `voxgate compare` starts.
.venv-openvino-2025/.installed: suites/openvino-2025.txt
	@$(PYTHON) -m venv $(@D)
	@echo "installing OpenVINO's other release into $(@D)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< && touch $@ \
		|| { echo "$< was not installed; its tests will be skipped"; rm -rf $(@D); }

.venv-python-3.10/.installed: suites/python-3.10.txt
	@python3.10 -m venv $(@D) \
		&& $(@D)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< && touch $@ \
		|| { echo "$< was not installed; its tests will be skipped"; rm -rf $(@D); }

clean:
	rm -rf $(VENV) .venv-openvino-2025 .venv-python-3.10 .mypy_cache .ruff_cache .hypothesis build dist
