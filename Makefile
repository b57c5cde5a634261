PYTHON ?= python3
BIN = .venv/bin

.PHONY: setup run test lint

# Every target sets itself up; the environment is made again when requirements.txt changes.
setup: .venv/.done

.venv/.done: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

# Trains for two minutes on photographs that scikit-image carries and colorizes grayscale versions of them.
run: setup
	$(BIN)/python -m data.demo runs/demo
	$(BIN)/python train.py --data runs/demo/photographs --run runs/demo/run --preset tuned --epochs 1 --resume
	$(BIN)/python utils.py gray runs/demo/originals runs/demo/gray --overwrite
	$(BIN)/python test.py runs/demo/gray runs/demo/color --model runs/demo/run/best.keras --sheet runs/demo/sheet.png --overwrite
	@echo "look at runs/demo/sheet.png"

test: setup lint
	$(BIN)/python -m pytest -q

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
