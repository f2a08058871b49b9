# The two lines of the README, and what stands behind them. Each needs Python 3.11 or newer and make, and nothing else.

PYTHON ?= python3
ACTIVATE = . .venv/bin/activate
SEED ?= 0
COUNT ?= 10

.PHONY: demo faces test lint

# Cartoon faces from scratch: drawn, learned, dreamed up and scored. About five minutes on two cores.
demo: .venv/installed
	$(ACTIVATE) && dvc repro
	@echo
	@echo "Faces:    data/samples/grid.png, data/samples/faces/"
	@echo "Moving:   data/samples/walk.webp, data/samples/progress.gif"
	@echo "Learning: data/samples/losses.png, metrics/losses.csv"
	@echo "Scores:   metrics/evaluate.json"
	@grep -E '^ "[a-z0-9_]+": [0-9.]+' metrics/evaluate.json

# Ten faces from the generator that comes with the project, in seconds: make faces SEED=7 COUNT=20
faces: .venv/installed
	$(ACTIVATE) && python stages/sample.py --model pretrained/avatars.safetensors --seed $(SEED) --count $(COUNT) --out faces

test: .venv/installed
	$(ACTIVATE) && OMP_NUM_THREADS=1 pytest -n auto --dist loadfile

lint: .venv/installed
	$(ACTIVATE) && ruff check

.venv/installed: requirements.txt constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@
