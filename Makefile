# `make quickstart` and `make test` need git, make and Python 3.10-3.13, nothing else.
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
BIN := $(VENV)/bin
RUN := $(BIN)/continual-df

.PHONY: install quickstart faces faces-five faces-ten faces-twelve tables nevis nevis-procedural nevis-real-faces test test-slow test-lowest lint clean python

install: $(VENV)/installed

python:
	@command -v $(PYTHON) > /dev/null || { echo "make: $(PYTHON) is not there; name one: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "make: $$($(PYTHON) --version) is not 3.10-3.13; name one that is: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo "make: $(PYTHON) cannot make environments; install its venv package (Debian: python3-venv)"; exit 2; }

# The mark is written last, so an install that was broken off starts again.
$(VENV)/installed: pyproject.toml
	@$(MAKE) --no-print-directory python
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[cpu,demo,weights,search,dev]'
	@touch $@

# Both sets hold two controls, which are real images, beside the forgery methods. The ten are those that a small detector
# learns from 240 images (docs/results.md), made with other people in the splits.
FIVE := pca_reconstruction,decoder_nearest,double_jpeg_local,lowres_warp,elastic_grid,null_codec,null_resample
TEN := self_blended,decoder_transposed,elastic_grid,double_jpeg_local,pca_reconstruction,lowres_warp,tiny_autoencoder,$\
mls_warp,decoder_nearest,poisson_swap,null_codec,null_resample
# Two sets of the same twelve methods, made with other people in the splits: for attribution, without controls.
TWELVE := pca_reconstruction,decoder_nearest,elastic_grid,self_blended,poisson_swap,inpaint,$\
lowres_warp,decoder_transposed,tiny_autoencoder,double_jpeg_local,mls_warp,parts_swap
FORGE := forge --reals orl --size 64

# Forges five methods from the ORL faces, then learns them one after another.
QUICK := runs/quickstart
quickstart: install
	rm -rf $(QUICK)
	$(RUN) $(FORGE) --out $(QUICK)/faces --methods $(FIVE)
	$(RUN) run --config experiments/quickstart.yaml --model Finetune --run_dir $(QUICK)/finetune
	$(RUN) run --config experiments/quickstart.yaml
	$(RUN) plot $(QUICK)

# The faces of experiments/compare/procedural.yaml, and of open_world_procedural.yaml beside it.
PROCEDURAL_ROOT ?= runs/procedural
faces: faces-five faces-ten faces-twelve

faces-five: install
	rm -rf $(PROCEDURAL_ROOT)/five
	$(RUN) $(FORGE) --out $(PROCEDURAL_ROOT)/five --methods $(FIVE)

faces-ten: install
	rm -rf $(PROCEDURAL_ROOT)/ten
	$(RUN) $(FORGE) --out $(PROCEDURAL_ROOT)/ten --seed 1 --methods $(TEN)

faces-twelve: install
	rm -rf $(PROCEDURAL_ROOT)/twelve $(PROCEDURAL_ROOT)/twelve_swapped
	$(RUN) $(FORGE) --out $(PROCEDURAL_ROOT)/twelve --seed 2 --methods $(TWELVE)
	$(RUN) $(FORGE) --out $(PROCEDURAL_ROOT)/twelve_swapped --seed 3 --methods $(TWELVE)

# The tables of docs/results.md that need rows of finished runs alone; 'make nevis' writes the others.
tables: install
	for pair in procedural:average_auc real_faces:average_auc open_world_procedural:novel_acc_strict \
	    open_world_real_faces:novel_acc_strict; do sweep=$${pair%:*}; \
	  $(RUN) compare docs/results/$$sweep.csv --draws 0 --sort $${pair#*:} --out runs/tables/$$sweep > /dev/null && \
	  $(BIN)/python tools/insert.py docs/results.md $$sweep runs/tables/$$sweep/comparison.md || exit; done

# What learners cost (docs/compute.md): makes the runs that are missing, then tables and figures of docs/results.md. The real faces are
# those of REAL_FACES_ROOT.
nevis: nevis-procedural nevis-real-faces

nevis-procedural: install
	$(RUN) sweep experiments/compare/procedural.yaml --only stream=ten method=finetune,er,icarl_fc,sur_lid,brick
	$(RUN) sweep experiments/nevis/procedural.yaml
	$(call show_costs,procedural,$(addprefix runs/compare/procedural/ten/,finetune er icarl_fc sur_lid brick),4)

nevis-real-faces: install
	$(RUN) sweep experiments/compare/real_faces.yaml --only stream=date method=finetune,er,icarl_fc,sur_lid,brick
	$(RUN) sweep experiments/nevis/real_faces.yaml
	$(call show_costs,real_faces,$(addprefix runs/compare/real_faces/date/,finetune er icarl_fc sur_lid brick))

# Tables and figures of a sweep of experiments/nevis with the runs $(2) beside it; errors are over the last $(3) tasks too, where given.
define show_costs
$(RUN) compare $(2) runs/nevis/$(1) --reference independent $(if $(3),--suffix $(3)) --draws 0 --out runs/nevis/$(1)/tables
$(BIN)/python tools/insert.py docs/results.md nevis-$(1) runs/nevis/$(1)/tables/comparison.md
$(RUN) plot $(2) runs/nevis/$(1) --reference independent $(if $(3),--suffix $(3)) --no-images --out runs/nevis/$(1)/figures
cp runs/nevis/$(1)/figures/error_against_flops_auc.png docs/figures/nevis_$(1)_error.png
cp runs/nevis/$(1)/figures/source_graph.png docs/figures/nevis_$(1)_sources.png
endef

# One thread a process: two test processes with two threads each would wait for each other on two cores. Large tensors stay in the process.
test test-slow test-lowest: export OMP_NUM_THREADS = 1
test test-slow test-lowest: export MALLOC_MMAP_THRESHOLD_ = 4000000000
test test-slow test-lowest: export MALLOC_TRIM_THRESHOLD_ = 8000000000

# Tests write their runs into memory, where there are 8 GiB for them and 8 for what they compute: on a disk they wait for it a fifth
# of their time. Elsewhere they go where TMPDIR says.
SPARE = $(shell df -k --output=avail /dev/shm 2> /dev/null | tail -n 1)
FREE = $(shell sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo 2> /dev/null)
ROOM = $(shell test "$(SPARE)" -gt 8388608 -a "$(FREE)" -gt 16777216 2> /dev/null && test -w /dev/shm && echo TMPDIR=/dev/shm)
IN_MEMORY = $(if $(TMPDIR),,$(ROOM))

# A module stays in one process: what its tests share (runs, mostly) is made once.
PYTEST := -m pytest -n 2 --dist loadscope

test: lint
	$(IN_MEMORY) $(BIN)/python $(PYTEST)

test-slow: install
	$(IN_MEMORY) $(BIN)/python $(PYTEST) -m slow

# Not part of CI: the suite on the lowest version of every dependency that pyproject.toml claims.
test-lowest: python
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --upgrade pip packaging tomli
	$(LOWEST)/bin/python tools/lowest.py > $(LOWEST)/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet --editable '.[cpu,demo,weights,search,dev]' --constraint $(LOWEST)/lowest.txt
	$(IN_MEMORY) $(LOWEST)/bin/python $(PYTEST)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(LOWEST) build dist
