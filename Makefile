# Targets for the commands in the README. They need only Python 3.11 or newer and make.

PYTHON ?= python3
ACTIVATE = . .venv/bin/activate
SEED ?= 0
COUNT ?= 10
PORT ?= 7860
# With UV=1, uv installs the packages, in a fraction of pip's time. It does not read pip's configuration files.
INSTALL = $(if $(UV),uv pip install -q --python $(@D)/bin/python,$(@D)/bin/pip install -q --disable-pip-version-check)
# DVC needs a user name, and a user in a container may have none.
export LOGNAME ?= $(shell id -un 2>/dev/null || id -u)

TOO_OLD = "error: expected Python 3.11 or newer; found %d.%d; name another: make PYTHON=python3.12"
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit($(TOO_OLD) % sys.version_info[:2])'

.PHONY: install demo faces studio tensorboard export docs docs-check test test-studio lint

# Draws cartoon faces, trains a GAN on them, samples and scores it, in minutes on two cores. A downloaded ZIP has no Git repository, so
# DVC is configured to work without one.
demo: .venv/installed
	@[ -e .git ] || { $(ACTIVATE) && dvc config --local core.no_scm true; }
	$(ACTIVATE) && dvc repro
	@echo
	@sed -n 's/^ *"\([a-z0-9_]*\)": \([^,]*\),*$$/  \1 \2/p' metrics/evaluate.json
	@echo
	@echo "Report:  data/samples/report.html"

# Creates .venv with the packages
install: .venv/installed

# Generates ten faces with the included generator, in seconds: make faces SEED=7 COUNT=20
faces: .venv/installed
	$(ACTIVATE) && python stages/sample.py --model pretrained/avatars.safetensors --seed $(SEED) --count $(COUNT) --out faces

# Opens a page to watch trainings and explore generators: make studio PORT=8000
studio: .venv/installed-studio
	$(ACTIVATE) && python -m facegan.studio --port $(PORT)

# Opens TensorBoard on the event files of running and earlier trainings, which are written where it was installed: make tensorboard PORT=6006
tensorboard: .venv/installed-dev
	$(ACTIVATE) && tensorboard --logdir .checkpoints --port $(PORT)

# Exports the generator in data/model as a folder to publish: ONNX, a standalone page, a model card
export: .venv/installed-studio
	$(ACTIVATE) && python stages/export.py

# Builds the documentation, which works offline: site/index.html
docs: .venv/installed-docs
	$(ACTIVATE) && NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
	@echo "site/index.html"

# Runs the commands of the README and the tutorials in a fresh clone, shortened: about 15 minutes
docs-check: .venv/installed-dev
	$(ACTIVATE) && python docs/check.py

test: .venv/installed-dev
	$(ACTIVATE) && OMP_NUM_THREADS=1 pytest -n auto --dist loadfile

# The slow tests, of the studio and the exports in a browser: needs Chromium (Debian: apt-get install chromium)
test-studio: .venv/installed-dev
	$(ACTIVATE) && OMP_NUM_THREADS=1 pytest -n auto --dist loadfile -m slow

lint: .venv/installed-dev
	$(ACTIVATE) && ruff format --check && ruff check && mypy

.venv/installed: requirements.txt constraints.txt
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) -r requirements.txt -c constraints.txt
	touch $@

.venv/installed-%: requirements-%.txt $(wildcard requirements/*.txt) .venv/installed
	$(INSTALL) -r $< -c constraints.txt
	touch $@
