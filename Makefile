PYTHON ?= python3
BIN = .venv/bin
TWO = -n 2 --dist loadfile

.PHONY: setup run app check test soak test-jax test-torch bench figures-train figures

# Every target sets itself up; the environment is made again when requirements.txt changes.
setup: .venv/.done

.venv/.done: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	    (echo "Python 3.11 to 3.13 is needed: make PYTHON=python3.12 ..."; exit 1)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

# A page in the browser, for this machine alone.
app: .venv/.app
	$(BIN)/python app.py

.venv/.app: .venv/.done requirements-app.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-app.txt
	touch $@

# For the browser test, which drives a Chromium of the system. Where one of the three is missing it
# is skipped.
.venv/.browser: .venv/.done requirements-app.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-app.txt \
	    'playwright>=1.50,<2' || echo "no browser test: Gradio or Playwright cannot be installed"
	touch $@

# Colorizes photographs that scikit-image carries, made gray, by the bundled network.
DEMO = runs/demo
run: setup
	$(BIN)/python -m data.demo $(DEMO)
	$(BIN)/python test.py $(DEMO)/gray $(DEMO)/color
	@echo "Compare $(DEMO)/gray with $(DEMO)/color."

# At every save: under a minute.
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q $(TWO) -m "not slow and not soak"

test: setup .venv/.browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -q $(TWO)

# What takes too long for every change: 20,000 damaged pictures, 30 kills of training. About
# half an hour.
soak: setup
	$(BIN)/python -m pytest -q -s -m soak

# The same tests on another backend, in an environment without TensorFlow.
test-jax test-torch: test-%:
	$(PYTHON) -m venv .venv-$*
	grep -v '^tensorflow' requirements.txt | \
	    .venv-$*/bin/pip install --quiet --disable-pip-version-check -r /dev/stdin $*
	KERAS_BACKEND=$* .venv-$*/bin/python -m pytest -q

bench: setup
	$(BIN)/python -m benchmarks.bench

# The networks that the figures need, each trained for STEPS steps; given again, it continues:
# make figures-train DATA=data_256 STEPS=4096 FLAGS="--preset tuned --places2-natural"
RUNS = runs/figures
FLAGS = --preset tuned
TRAIN = $(BIN)/python train.py --data $(DATA) $(if $(VAL),--val $(VAL)) $(FLAGS) \
    --steps $(STEPS) --epochs $(STEPS) --resume --run $(RUNS)
figures-train: setup
	for t in 1 1.4 1.6 1.8 2; do $(TRAIN)/t$$t --saturation $$t || exit; done
	$(TRAIN)/no-edges --no-edges
	$(TRAIN)/iizuka2016 --network iizuka2016 --saturation 1
	$(TRAIN)/zhang2016 --network zhang2016 --saturation 1

# By these networks, on the photographs in DATA or, without it, scikit-image's. The fifth is a
# painting, which has no colours to compare with.
FIGURE = $(BIN)/python figures.py --data "$(or $(DATA),$(DEMO)/photographs)" --out $(RUNS)/pages
figures: setup
	$(if $(DATA),,$(BIN)/python -m data.demo $(DEMO))
	$(FIGURE) saturation --model $(foreach t,1 1.4 1.6 1.8 2,t$(t)=$(RUNS)/t$(t)/best.keras)
	$(FIGURE) edges --model "without EDN=$(RUNS)/no-edges/best.keras" \
	    "with EDN=$(RUNS)/t1.8/best.keras"
	$(FIGURE) results --model colorized=$(RUNS)/t1.8/best.keras
	$(FIGURE) comparison --model "Iizuka et al. 2016=$(RUNS)/iizuka2016/best.keras" \
	    "Zhang et al. 2016=$(RUNS)/zhang2016/best.keras" "this network=$(RUNS)/t1.8/best.keras"
	$(BIN)/python test.py docs/figures/ink_painting.png $(RUNS)/pages/ink.png \
	    --model $(RUNS)/t1.8/best.keras --overwrite
