# A thin front for people; Meson does the work.  `make run` and `make test` are all that a new machine needs.
PORT ?= 8443
DIR  ?= $(CURDIR)/mesh
BUILD ?= build
SECONDS ?= 20

PACKAGES := $(shell sed -e 's/\#.*//' packaging/packages.txt)
TEST_PACKAGES := $(shell sed -e 's/\#.*//' packaging/packages-test.txt)
MESON := CC="$(shell command -v ccache) $(or $(CC_FOR_BUILD),gcc)" meson setup

.PHONY: all console deps deps-test run test sim asan tsan fuzz bench coverage lint screenshots clean

all: $(BUILD)/build.ninja console
	@ninja -C $(BUILD)

console:
	@tools/build_console.sh

$(BUILD)/build.ninja:
	@$(MAKE) --no-print-directory deps
	$(MESON) $(BUILD)

# Debian's npm does not go with the Node.js of others, which brings its own; without any the server is built all the same.
deps:
	@tools/install_packages.sh $(PACKAGES)
	@command -v npm >/dev/null || tools/install_packages.sh nodejs npm || true

deps-test:
	@tools/install_packages.sh $(PACKAGES) $(TEST_PACKAGES)

run: deps all
	@exec $(BUILD)/bin/murmesh up --port $(PORT) --dir "$(DIR)"

test: deps-test console
	@[ -e $(BUILD)/build.ninja ] || $(MESON) $(BUILD)
	@ninja -C $(BUILD)
	@/usr/bin/python3 tools/run_tests.py $(BUILD)

# The tests that kill, a thousand times each (`make test`: 25), and seeds of the simulation, others each time (`make test`: 1 to 1,000).
sim: all deps-test
	@MURMESH_KILLS=1000 $(BUILD)/test_fleet_token_crash
	@MURMESH_KILLS=1000 $(BUILD)/test_route_crash
	@MURMESH_SEEDS=20000 $(BUILD)/tests/sim/sim --from $$(date +%s)

asan: deps-test console
	@[ -e build-asan/build.ninja ] || $(MESON) build-asan -Db_sanitize=address,undefined
	@ninja -C build-asan
	@/usr/bin/python3 tools/run_tests.py build-asan

tsan: deps-test
	@[ -e build-tsan/build.ninja ] || $(MESON) build-tsan -Db_sanitize=thread
	@ninja -C build-tsan
	@/usr/bin/python3 tools/run_tests.py build-tsan unit

fuzz: deps-test
	@[ -e build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzzing=true -Db_sanitize=address,undefined -Db_lundef=false -Dwerror=false -Dc_args=-fsanitize=fuzzer-no-link
	@ninja -C build-fuzz
	@tools/run_fuzzers.sh build-fuzz $(SECONDS)

bench: deps-test all
	@bench/run.sh $(BUILD)

coverage: deps-test
	@[ -e build-coverage/build.ninja ] || $(MESON) build-coverage -Db_coverage=true
	@ninja -C build-coverage
	@/usr/bin/python3 tools/run_tests.py build-coverage unit
	@gcovr -r . --filter 'src/(base|os|crypto|io|h1|h2|conf|stream|rpc)/' --exclude '.*_test\.c' build-coverage

lint: deps-test
	@/usr/bin/python3 tools/check_layers.py
	@git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror

# docs/screenshots, as root.
screenshots: all
	@/usr/bin/python3 tests/browser/screenshots.py

clean:
	rm -rf build build-asan build-tsan build-fuzz build-coverage
