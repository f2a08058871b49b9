# The lines of the README, and what stands behind them. Each needs Python 3.11 or newer and make, and nothing else.

PYTHON ?= python3
ACTIVATE = . .venv/bin/activate
SEED ?= 0
COUNT ?= 10
PORT ?= 7860
# DVC asks for the user's name, and a user of a container may have none.
export LOGNAME ?= $(shell id -un 2>/dev/null || id -u)

.PHONY: demo faces studio export test test-studio lint

# Cartoon faces from scratch: drawn, learned, dreamed up and scored. Minutes on two cores. In a downloaded ZIP there is no git, which DVC
# has to be told.
demo: .venv/installed
	@[ -e .git ] || { $(ACTIVATE) && dvc config --local core.no_scm true; }
	$(ACTIVATE) && dvc repro
	@echo
	@sed -n 's/^ *"\([a-z0-9_]*\)": \([^,]*\),*$$/  \1 \2/p' metrics/evaluate.json
	@echo
	@echo "Look at it all:  data/samples/report.html"

# Ten faces from the generator that comes with the project, in seconds: make faces SEED=7 COUNT=20
faces: .venv/installed
	$(ACTIVATE) && python stages/sample.py --model pretrained/avatars.safetensors --seed $(SEED) --count $(COUNT) --out faces

# A page to watch trainings and to play with generators: make studio PORT=8000
studio: .venv-studio/installed
	.venv-studio/bin/python -m facegan.studio --port $(PORT)

# data/model's generator as a folder to publish: ONNX, a page that draws faces by itself, a model card
export: .venv-studio/installed
	.venv-studio/bin/python stages/export.py

test: .venv/installed-dev
	$(ACTIVATE) && OMP_NUM_THREADS=1 pytest -n auto --dist loadfile

# The studio and the exports, in a real browser: wants Chromium (Debian: apt-get install chromium)
test-studio: .venv-studio/installed-tests
	OMP_NUM_THREADS=1 .venv-studio/bin/python -m pytest tests/studio tests/export

lint: .venv/installed-dev
	$(ACTIVATE) && ruff format --check && ruff check && mypy

.venv/installed: requirements.txt constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

.venv/installed-%: requirements-%.txt requirements/%.txt .venv/installed
	.venv/bin/pip install -q --disable-pip-version-check -r $< -c constraints.txt
	touch $@

# The page's libraries hold others back (Pillow below 13), so they live apart.
.venv-studio/installed: requirements-studio.txt requirements/studio.txt requirements.txt
	$(PYTHON) -m venv .venv-studio
	.venv-studio/bin/pip install -q --disable-pip-version-check -r requirements-studio.txt
	touch $@

.venv-studio/installed-tests: .venv-studio/installed
	.venv-studio/bin/pip install -q --disable-pip-version-check pytest playwright
	touch $@
