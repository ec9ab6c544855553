# Every target says what is missing, by name, and how to install it.

INPUT ?=
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: help demo test conformance bench lint check-memory fuzz sim install clean

help:
	@echo "make demo [INPUT=file]    a cluster of four languages works off one list"
	@echo "make test                 every test in every language"
	@echo "make conformance          the shared vectors (MINIKV_VECTORS=folder for others)"
	@echo "make bench [QUICK=1]      speed and memory beside other libraries"
	@echo "make lint                 format, clippy, header and stub drift"
	@echo "make check-memory         the C tests under ASan and valgrind"
	@echo "make fuzz [SECONDS=60]    each fuzz target for that long"
	@echo "make sim [SEEDS=500]      simulated clusters from many seeds; SEED=n shows one"
	@echo "make install PREFIX=...   C library, header, pkg-config file"

demo:
	@sh .ci/need cargo cc c++ python3 venv node npm
	@sh examples/demo/run.sh "$(INPUT)"

test:
	@sh .ci/need cargo cc c++ python3 venv node npm
	@bash .ci/test

conformance:
	@sh .ci/need cargo cc python3 venv node npm
	@bash .ci/conformance

bench:
	@sh .ci/need cargo cc python3 venv node npm
	@sh core/benches/run.sh

lint:
	@sh .ci/need cargo rustfmt clippy cc python3 venv node npm
	@bash .ci/lint

check-memory:
	@sh .ci/need cargo cc valgrind
	@sh ffi-c/tests/memory.sh

SECONDS ?= 60
fuzz:
	@sh .ci/need cargo cc c++
	@for target in ops value options messages; do sh core/fuzz/run.sh $$target $(SECONDS) || exit 1; done

SEEDS ?= 500
FROM ?= 1
sim:
	@sh .ci/need cargo
	@MINIKV_SIM_SEED=$(SEED) MINIKV_SIM_FROM=$(FROM) sh .ci/sim $(SEEDS)

install:
	@sh .ci/need cargo cc
	@sh ffi-c/install.sh "$(PREFIX)" "$(DESTDIR)"

clean:
	cargo clean
