# SPDX-License-Identifier: Apache-2.0
#
# The door to the repository: `make help` lists what there is. All real work
# is in meson.build and in the scripts of dev/.
#
# Variables: PREFIX and DESTDIR (install), FUZZ_SECONDS (fuzz), SKIP_SETUP=1
# (do not look for Debian packages), PYTEST_JOBS (test), CC.

BUILD ?= build
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
# Another python may come first in PATH; Debian's has Debian's pytest.
PYTHON ?= /usr/bin/python3
PYTEST = $(PYTHON) -m pytest -q
# How many tests of the command run at once; 0 turns that off.
PYTEST_JOBS ?= 3

# Each of two databases has so many.
PYTHON_JOBS = -n 2 --dist loadfile

# A memory limit is a result that the code must handle, not a reason to abort.
ASAN_ENV = UBSAN_OPTIONS=print_stacktrace=1 \
	ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1
# Tests that count memory: what is freed is gone.
ASAN_FREES = quarantine_size_mb=1:thread_local_quarantine_size_kb=64

# What test-pypi runs with newer versions of Django.
DJANGO_TESTS = $(addprefix tests/python/test_, project.py django_explore.py \
	django_explore_[cpv]*.py committing.py committing_together.py hooks*.py \
	signals.py locks.py leftover.py concurrent_django.py plugin_django.py)

.DEFAULT_GOAL := all
.PHONY: all help demo python test test-clients test-pypi asan tsan fuzz bench isolation-suite lint format accept install clean
.PHONY: setup-build setup-test setup-python FORCE
# Steps of one target depend on each other; ninja does the parallel work.
.NOTPARALLEL:

all: $(BUILD)/sqloom ## build the command, build/sqloom (the default)

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' \
		$(firstword $(MAKEFILE_LIST))

demo: $(BUILD)/sqloom ## find a lost update and show it
	@dev/demo $(BUILD)/sqloom

# PYTHONPATH=build/site then finds it, from any directory if made absolute.
python: $(BUILD)/.python ## build the Python package, into build/site
	@ninja --quiet -C $(BUILD) python-extension
	@dev/python-site $(BUILD)

test: $(BUILD)/sqloom $(BUILD)/.tests python ## run all tests
	@ninja --quiet -C $(BUILD)
	dev/unit-tests $(BUILD)
	SQLOOM=$(BUILD)/sqloom $(PYTEST) -n $(PYTEST_JOBS) --dist loadfile tests
	dev/python-tests --build $(BUILD) --db both $(PYTHON_JOBS)

test-clients: $(BUILD)/sqloom ## run drivers of npm, Go and Maven through the proxy
	@dev/setup test
	dev/clients $(BUILD)/clients >$(BUILD)/clients.list
	SQLOOM=$(BUILD)/sqloom SQLOOM_CLIENTS="$$(cat $(BUILD)/clients.list)" \
		$(PYTEST) tests/proxy/test_clients.py tests/examples/test_http_examples.py

test-pypi: $(BUILD)/sqloom python ## run drivers and Django of PyPI through the proxy
	@dev/setup test
	dev/pypi $(BUILD)/pypi >$(BUILD)/pypi.list
	@# TLS to the server and recording are the same for every client: make test.
	SQLOOM=$(BUILD)/sqloom SQLOOM_CLIENTS="$$(cat $(BUILD)/pypi.list)" \
		SQLOOM_PYPI=$(BUILD)/pypi \
		SQLOOM_EXAMPLES_PYTHON=$(BUILD)/pypi/django-5.2/bin/python \
		$(PYTEST) -n $(PYTEST_JOBS) \
		-k "(pypi and not tls and not recorded) or the_page_is_true" \
		tests/proxy/test_clients.py tests/pypi \
		tests/examples/test_django_tutorial.py
	@# At the same time: what depends on the versions of Django and its drivers.
	dev/python-tests --installed --db sqlite \
		--python $(BUILD)/pypi/django-4.2/bin/python \
		$(PYTHON_JOBS) $(DJANGO_TESTS) \
		>$(BUILD)/pypi/django-4.2.log 2>&1 & first=$$!; \
	dev/python-tests --installed --db postgresql \
		--python $(BUILD)/pypi/django-5.2/bin/python \
		$(PYTHON_JOBS) $(DJANGO_TESTS); \
	second=$$?; wait $$first; first=$$?; \
	cat $(BUILD)/pypi/django-4.2.log; [ $$first = 0 ] && [ $$second = 0 ]
	dev/pypi-real $(BUILD)/pypi/real $(BUILD)/pypi/django-4.2/bin/pip
	SQLOOM_REAL_PYPI=$(BUILD)/pypi/real dev/python-tests --build $(BUILD) \
		--db both tests/python/real

asan: setup-test build-asan/build.ninja ## run all tests under ASan and UBSan
	@ninja --quiet -C build-asan
	$(ASAN_ENV) dev/unit-tests build-asan
	$(ASAN_ENV):$(ASAN_FREES) SQLOOM=build-asan/cli/sqloom $(PYTEST) tests

tsan: build-tsan/build.ninja ## run the tests of what has threads under TSan
	dev/unit-tests build-tsan base/coroutine call/baton kit/ \
		explore/functions db/sqlite_front probe/sqlite

fuzz: build-fuzz/build.ninja ## run each fuzzer for FUZZ_SECONDS (60)
	dev/fuzz build-fuzz $(FUZZ_SECONDS)

bench: $(BUILD)/build.ninja python ## measure runs per second, on both databases
	@dev/setup build python bench
	@ninja --quiet -C $(BUILD) bench/sqloom-bench
	$(BUILD)/bench/sqloom-bench
	$(PYTHON) bench/python/run.py --build $(BUILD)

isolation-suite: $(BUILD)/sqloom ## run PostgreSQL's own isolation specs, and compare
	@dev/setup isolation-suite
	dev/isolation-suite --sqloom $(BUILD)/sqloom

lint: ## check style, layers, warnings (gcc and clang)
	@dev/setup build python test lint
	@dev/lint

format: ## format all C sources
	@dev/setup lint
	@dev/sources | xargs -r clang-format -i

accept: $(BUILD)/sqloom ## rewrite tests/spec/expected on purpose
	@dev/setup test
	SQLOOM=$(BUILD)/sqloom SQLOOM_ACCEPT=1 $(PYTEST) tests/spec
	@git status --short tests/spec/expected

install: all ## install under PREFIX (/usr/local); DESTDIR works
	meson configure $(BUILD) -Dprefix=$(abspath $(PREFIX))
	@# The Python package is installed by pip, into an environment of its own.
	meson install -C $(BUILD) --tags runtime,devel,man
	@# Programs find the shared library from now on.
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || ldconfig

clean: ## remove all build directories
	rm -rf build build-asan build-tsan build-fuzz build-lint build-lint-clang

# ---- Below: how the targets above get there ---------------------------

setup-build:
	@dev/setup build

setup-test:
	@dev/setup build test

setup-python:
	@dev/setup build python

# ninja knows better than make what is out of date.
$(BUILD)/sqloom: $(BUILD)/build.ninja FORCE
	@ninja --quiet -C $(BUILD) cli/sqloom
	@ln -sfn cli/sqloom $@

$(BUILD)/build.ninja: | setup-build
	meson setup $(BUILD) -Dtests=auto -Dpython=disabled \
		-Dprefix=$(abspath $(PREFIX))

# A build directory that was made without cmocka learns of it here.
$(BUILD)/.tests: | setup-test $(BUILD)/build.ninja
	meson configure $(BUILD) -Dtests=enabled
	@touch $@

# Nor does a C user's build look for Python.
$(BUILD)/.python: | setup-python $(BUILD)/build.ninja
	meson configure $(BUILD) -Dpython=enabled
	@touch $@

build-asan/build.ninja: | setup-test
	meson setup build-asan -Dtests=enabled -Dpython=disabled \
		-Db_sanitize=address,undefined \
		-Dc_args='-fno-sanitize-recover=all -fno-omit-frame-pointer'

build-tsan/build.ninja: | setup-test
	meson setup build-tsan -Dtests=enabled -Dpython=disabled \
		-Db_sanitize=thread

build-fuzz/build.ninja:
	@dev/setup build test fuzz
	CC=clang meson setup build-fuzz -Dtests=enabled -Dpython=disabled \
		-Dfuzzers=true \
		-Db_sanitize=address,undefined -Db_lundef=false \
		-Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=all'
