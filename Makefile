# One command from a fresh copy: `make run`. Needs only make and Python 3.11, 3.12 or 3.13.
# Works with GNU make 3.81 (macOS) and later. Paths here are relative, so the folder's own name
# may hold spaces.
ARGS =
PYTHON ?=

VENV := .venv
BIN := $(VENV)/bin
# The folder's name is part of the stamps: a .venv that was copied or moved is made anew, because
# its commands and the editable package would still point to the old place.
HERE := $(shell pwd -P | cksum | cut -d' ' -f1)
MADE := $(VENV)/.made-$(HERE)
LOCKED := $(VENV)/.locked-$(HERE)
READY := $(VENV)/.ready-$(HERE)

NOTEBOOKS := $(wildcard notebooks/*.ipynb)
STRIP := nbstripout --extra-keys "metadata.papermill cell.metadata.papermill"

# Whatever environment is activated around us stays outside. (The user's own package mirror
# settings stay in force: they say where from, not what.)
# Without byte code every kernel compiles its imports anew.
unexport PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX PYTHONDONTWRITEBYTECODE
export PIP_USER := 0
export PYTHON

.PHONY: help run test lab bench check fix lint setup lock clean remake
.DELETE_ON_ERROR:

help:  ## List these targets
	@echo 'Usage: make TARGET [ARGS="..."] [PYTHON=/path/to/python3.12]'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' Makefile

# Without ARGS: the demo, with fewer epochs and disturbed clips: enough to be well above guessing
# in minutes.
run: $(READY)  ## Run the seven notebooks, e.g. make run ARGS="--corpora tess"
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/ser run $(or $(ARGS),-p EPOCHS=15 -p N_ROBUST=28 -p N_SEEDS=1 -p N_TRAIN=70 -p N_VALIDATION=56)

# tests/conftest.py says which files come first: the ones that take longest.
test: $(READY)  ## Run the tests, e.g. make test ARGS="tests/test_audio.py -x"
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

# Without the setting, a sound of more than 10 MB dropped on the panel of 07 is lost without a word.
lab: $(READY)  ## Open the notebooks in JupyterLab
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/jupyter-lab --LabApp.default_url=/lab/tree/notebooks \
	    --ServerApp.tornado_settings="{'websocket_max_message_size': 209715200}" $(ARGS)

# One thread a process: a core is to mean a core.
bench: $(READY)  ## Time features, answers and growth, on RAVDESS
	$(BIN)/python -m pip install --quiet -r benchmarks/requirements.txt
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1 \
	    $(BIN)/python benchmarks/features.py $(ARGS)
	@$(BIN)/python benchmarks/answers.py
	@$(BIN)/python benchmarks/growth.py --sizes 100 1000 10000

check: $(READY)  ## Check format, style, docstrings, types, spelling; notebooks hold no outputs
	@$(MAKE) --no-print-directory lint

fix: $(READY)  ## Repair what `make check` finds and can be repaired by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(if $(NOTEBOOKS),$(BIN)/$(STRIP) $(NOTEBOOKS))

# The checks without the set-up, for an environment that is already there (the tests call this
# with BIN=...). Settings are in pyproject.toml.
lint:
	"$(BIN)/ruff" format --check .
	"$(BIN)/ruff" check .
	$(if $(NOTEBOOKS),"$(BIN)"/$(STRIP) --verify $(NOTEBOOKS))
	"$(BIN)/codespell"
	"$(BIN)/mypy"

setup: $(READY)  ## Make .venv as requirements.lock says (run, test and lab do it themselves)

lock: $(READY)  ## Bring requirements.lock up to pyproject.toml; newest versions: ARGS=--upgrade
	$(BIN)/uv --no-config pip compile --quiet --universal --generate-hashes --no-header \
	    --no-annotate --all-extras --python-version 3.11 --output-file requirements.lock \
	    $(ARGS) pyproject.toml

clean:  ## Remove .venv and caches; data/ and outputs/ stay
	rm -rf $(VENV) helpers.egg-info .coverage* .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find helpers tests -name __pycache__ -exec rm -rf {} +

# ---- Set-up in three steps, each with a stamp, so that a second call starts at once ----

# An environment whose Python was upgraded away cannot start any more: make it anew.
ifneq ($(wildcard $(MADE)),)
ifneq ($(shell $(BIN)/python -c 'print(1)' 2>/dev/null),1)
$(MADE): remake
endif
endif

# 1. The environment. Each candidate is started, not only looked up: pyenv's shims exist for
# versions that do not run. _base_executable steps out of an activated virtual environment.
$(MADE):
	@seen=; \
	if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; \
	else set -- python3 python3.13 python3.12 python3.11 python; fi; \
	for candidate; do \
	    found=$$("$$candidate" -c 'import platform, sys; print("%d.%d %s-%s %s" % (sys.version_info[:2] + (sys.platform, platform.machine(), getattr(sys, "_base_executable", 0) or sys.executable)))' 2>/dev/null) || continue; \
	    version=$${found%% *}; found=$${found#* }; machine=$${found%% *}; base=$${found#* }; \
	    seen="$$seen$$(printf '\n  %s is Python %s (%s)' "$$candidate" "$$version" "$$base")"; \
	    case $$version in 3.11|3.12|3.13) ;; *) continue;; esac; \
	    if [ "$$machine" = darwin-x86_64 ]; then \
	        seen="$$seen, for Intel: TensorFlow has wheels for Apple silicon only"; continue; fi; \
	    if ! "$$base" -c 'import ensurepip, venv' 2>/dev/null; then \
	        seen="$$seen without its venv module: sudo apt install python$$version-venv"; continue; fi; \
	    echo "Making $(VENV) with Python $$version ($$base)"; \
	    "$$base" -m venv --clear $(VENV) && touch $@ && exit 0; exit 1; \
	done; \
	{ echo 'This project needs Python 3.11, 3.12 or 3.13 (TensorFlow has wheels for no other).'; \
	  echo "Looked for: $$*"; echo "Found:$${seen:- none of them}"; \
	  echo 'Install one: "apt install python3 python3-venv", "brew install python@3.12" or the'; \
	  echo 'installer of python.org. One outside the PATH: make run PYTHON=/path/to/python3.12'; } >&2; \
	exit 1

# 2. The exact versions; every file must match its hash.
$(LOCKED): $(MADE) requirements.lock
	@echo "Installing what requirements.lock names into $(VENV): minutes, 3.5 GB the first time"
	$(BIN)/python -m pip install --require-hashes -r requirements.lock
	@touch $@

# 3. The package itself, editable, built by the setuptools of the lock. librosa compiles some of its
# functions at their first use, which takes 20 s: here once, and not in the first notebook.
COMPILE := import librosa, numpy; librosa.beat.beat_track(y=numpy.ones(16000), sr=16000)
$(READY): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .
	$(BIN)/python -W ignore -c "$(COMPILE)"
	@touch $@
