# SPDX-License-Identifier: Apache-2.0
#
# One file, no recursion into folders. Everything built lands in build/<flavour>/:
#   release (default), debug, asan (address + undefined), tsan (thread), fuzz (clang libFuzzer),
#   coverage (gcov)
# `make help` lists the targets, README.md the variables.

PREFIX       ?= /usr/local
SBINDIR      ?= $(PREFIX)/sbin
BINDIR       ?= $(PREFIX)/bin
DATADIR      ?= $(PREFIX)/share
DOCDIR       ?= $(DATADIR)/doc/mcseal
MANDIR       ?= $(DATADIR)/man
# Below it: sysusers.d, tmpfiles.d, modules-load.d
SYSTEMDDIR   ?= $(PREFIX)/lib
UNITDIR      ?= $(SYSTEMDDIR)/systemd/system
DESTDIR      ?=
FLAVOUR      ?= release
PKG_CONFIG   ?= pkg-config
KERNEL       ?= newest
V            ?= 0

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || cat VERSION 2>/dev/null || echo unknown)
B       := build/$(FLAVOUR)

# --- what is built from what --------------------------------------------------------------------

FOLDERS      := base mc config confine ring net tls policy plant proxy control doctor
LIB_SOURCES  := $(foreach folder,$(FOLDERS),$(wildcard daemon/$(folder)/*.c))
PROGRAMS     := mcseald mcseal mcseal-nft mcplc mcping mcload mcecho
mcseald_SOURCES := daemon/main.c
mcseal_SOURCES  := $(wildcard daemon/ctl/*.c)
mcseal-nft_SOURCES := $(wildcard nft-rules/*.c)
mcplc_SOURCES   := $(wildcard tools/mcplc*.c)
mcping_SOURCES  := $(wildcard tools/mcping*.c)
BENCH_COMMON    := bench/loop.c bench/stream.c bench/pattern.c
mcload_SOURCES  := $(wildcard bench/mcload*.c) $(BENCH_COMMON)
mcecho_SOURCES  := $(wildcard bench/mcecho*.c) $(BENCH_COMMON)
PROGRAMS     := $(foreach program,$(PROGRAMS),$(if $(strip $(wildcard $($(program)_SOURCES))),$(program)))
UNIT_TESTS   := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
MC_TESTS     := $(filter test_mc_%,$(UNIT_TESTS))
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
PAGE_FOLDERS := $(patsubst docs/%/,%,$(sort $(dir $(wildcard docs/*/*.md))))
MANUALS      := $(wildcard docs/man/*.[158])
UNITS        := $(patsubst systemd/%.in,%,$(wildcard systemd/*.in))
SYSTEMD_KINDS := sysusers tmpfiles modules-load
C_FILES      := $(shell git ls-files '*.c' '*.h' 2>/dev/null)

# Library calls replaced in one unit test: its seam (see the test's first comment).
WRAP_test_ring := io_uring_queue_init_params
WRAP_test_origdst := getsockopt
WRAP_test_relay_splice := session_close
WRAP_test_capabilities := setsockopt pipe2 fcntl splice send
WRAP_test_ktls := setsockopt getsockopt recvmsg sendmsg
WRAP_test_ktls_control := setsockopt getsockopt recvmsg sendmsg
WRAP_test_audit_file := ftruncate
WRAP_test_line := malloc calloc realloc
WRAP_test_config_memory := malloc calloc reallocarray strdup vasprintf
# Parts of the tools that tests look at from inside.
MCPLC_CORE := $(patsubst %,tools/mcplc_%.c,memory cpu access 1e request)
EXTRA_test_mcplc := $(MCPLC_CORE)
EXTRA_test_mcload := bench/mcload_histogram.c bench/mcload_schedule.c bench/pattern.c
EXTRA_test_nft_cover := nft-rules/cover.c
EXTRA_test_nft_plan := $(patsubst %,nft-rules/%.c,plan plan_edge plan_gateway plan_guard builder ruleset set_type statement cover print)
LIBS_test_nft_plan := -ljansson
LIBS_test_line := -ljansson
EXTRA_fuzz_mc_request := $(MCPLC_CORE)
LEARNING := $(patsubst %,daemon/ctl/%.c,learn seen audit_record point_set)
EXTRA_test_audit_record := $(LEARNING)
EXTRA_test_learn := $(LEARNING)
EXTRA_fuzz_learn := $(LEARNING)

# --- how -----------------------------------------------------------------------------------------

LIBRARIES    := libssl libcrypto liburing libconfuse libsystemd jansson libseccomp
# Of the rules program, which is never linked with OpenSSL: only what it includes from daemon/.
NFT_LIBRARIES := libnftnl libmnl libnetfilter_conntrack jansson
NEEDS_BUILD  := $(filter-out clean help test soak check-vm demo demo-vm bench bench-kernel deb check-style,$(or $(MAKECMDGOALS),all))
ifneq ($(NEEDS_BUILD),)
  MISSING := $(shell PKG_CONFIG="$(PKG_CONFIG)" tools/need --missing build)
  ifneq ($(MISSING),)
    $(error missing Debian packages: $(MISSING) (as root: apt-get install $(MISSING); `make demo` and `make test` do it themselves))
  endif
  PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(LIBRARIES))
  PKG_LIBS   := $(shell $(PKG_CONFIG) --libs $(LIBRARIES))
  NFT_LIBS   := $(shell $(PKG_CONFIG) --libs $(NFT_LIBRARIES) libconfuse)
endif

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wvla -Wformat=2 -Wundef -Wwrite-strings -Wconversion -Wno-sign-conversion
HARDENING := -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2
LINK_HARDENING := -pie -Wl,-z,relro,-z,now,--as-needed

FLAVOUR_CFLAGS_release := -O2 -g $(HARDENING)
FLAVOUR_CFLAGS_debug   := -Og -g -fPIE
FLAVOUR_CFLAGS_asan    := -O1 -g -fPIE -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAVOUR_CFLAGS_tsan    := -O1 -g -fPIE -fno-omit-frame-pointer -fsanitize=thread
FLAVOUR_CFLAGS_fuzz    := -O1 -g -fPIE -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FLAVOUR_CFLAGS_coverage := -O0 -g -fPIE --coverage
ifeq ($(origin FLAVOUR_CFLAGS_$(FLAVOUR)),undefined)
  $(error no such flavour: $(FLAVOUR) (release debug asan tsan fuzz coverage))
endif
ifeq ($(FLAVOUR),fuzz)
  CC := clang
endif
SANITIZE := $(filter -fsanitize=% --coverage,$(FLAVOUR_CFLAGS_$(FLAVOUR)))
WERROR   ?= $(if $(CI),-Werror)

ALL_CFLAGS  = -std=gnu11 -pthread -Idaemon -Itools -Inft-rules -Ibench -D_GNU_SOURCE -DMCSEAL_VERSION='"$(VERSION)"' \
              $(WARNINGS) $(WERROR) $(FLAVOUR_CFLAGS_$(FLAVOUR)) $(PKG_CFLAGS) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = -pthread $(LINK_HARDENING) $(subst -fsanitize=fuzzer-no-link,-fsanitize=,$(SANITIZE)) $(LDFLAGS)
ifeq ($(FLAVOUR),fuzz)
  ALL_LDFLAGS = -pthread $(LINK_HARDENING) -fsanitize=address,undefined $(LDFLAGS)
endif

ifeq ($(V),0)
  say = @printf '  %-6s %s\n' $(1) $(2);
endif

# --- targets -------------------------------------------------------------------------------------

.PHONY: all soak bench bench-kernel deb demo demo-vm test check-vm check check-style lint fuzz coverage format tables install uninstall clean help programs unit-tests tested fuzz-targets
.DELETE_ON_ERROR:
.SECONDARY:

all: programs ## build the programs (FLAVOUR=release|debug|asan|tsan|fuzz|coverage)

programs: $(PROGRAMS:%=$(B)/%)
unit-tests: $(UNIT_TESTS:%=$(B)/tests/%)
tested: programs $(B)/mc_judge $(B)/mc_tables $(B)/count_allocations.so $(B)/fail_calls.so $(B)/jump_clock.so
fuzz-targets: $(FUZZ_TARGETS:%=$(B)/%)

demo: ## the whole path in four network namespaces, with and without mcseal (root)
	@tools/need --install build demo
	@+$(MAKE) --no-print-directory all
	@tools/demo

demo-vm: ## the demo in a stock Debian kernel with kernel TLS (KERNEL=6.1|6.12|newest; root)
	@tools/need --install build demo vm
	@+$(MAKE) --no-print-directory all
	@tests/vm/run --kernel $(KERNEL) --memory 2048 -- tools/demo

test: ## everything: units, end to end, attackers, sanitizers, fuzzers, lint, packages, three kernels (root)
	@tools/need --install build test package vm
	@+tests/run

check-vm: ## only the tests in three stock Debian kernels under QEMU (root)
	@tools/need --install build test vm
	@+tests/run --only vm-lab vm-6.1 vm-6.12 vm-newest

bench: ## mcseal beside nginx, HAProxy, stunnel and hitch: build/bench/report.md (QUICK=1: two minutes; root)
	@tools/need --install build bench
	@+$(MAKE) --no-print-directory all
	@bench/run $(if $(filter-out 0,$(QUICK)),--quick) $(BENCH)

bench-kernel: ## instructions for an answer in three kernels with kernel TLS: build/bench/kernel.md (an hour)
	@tools/need --install build bench vm
	@+$(MAKE) --no-print-directory all
	@bench/kernel $(BENCH)

soak: ## ten minutes of load while everything around happens (SECONDS=600 SEED=; root)
	@tools/need --install build test
	@+$(MAKE) --no-print-directory tested
	@tests/soak --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

check: unit-tests ## unit tests of this flavour only (no root)
	@tests/run --unit-only $(FLAVOUR)

deb: ## Debian packages of this tree and their bill of materials, in build/deb (ARCH=arm64: cross-built)
	@tools/need --install build package
	@tools/package $(if $(ARCH),--arch $(ARCH))

lint: ## clang-format, clang-tidy, cppcheck, gcc -fanalyzer, shellcheck, include rules
	@+tools/lint

fuzz: ## run every fuzz target for FUZZ_SECONDS each (default 60)
	@+$(MAKE) --no-print-directory FLAVOUR=fuzz fuzz-targets
	@tests/fuzz/run $(or $(FUZZ_SECONDS),60)

coverage: ## lines of daemon/mc that its unit tests run; at least 95 %
	@+$(MAKE) --no-print-directory FLAVOUR=coverage $(MC_TESTS:%=build/coverage/tests/%)
	@tests/coverage daemon/mc 95 $(MC_TESTS:%=build/coverage/tests/%)

tables: $(B)/mc_tables ## make docs/mc.md and the tables of the Wireshark dissector anew
	$< lua > $<.lua && mv $<.lua tools/wireshark/mcseal-mc-tables.lua
	$< markdown > $<.md && mv $<.md docs/mc.md

format: ## clang-format every C file in place
	clang-format -i $(C_FILES)

install: all ## install below PREFIX (DESTDIR is honoured)
	install -v -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(BINDIR) $(DESTDIR)$(DOCDIR)/examples
	install -v -m 0755 $(B)/mcseald $(B)/mcseal-nft $(DESTDIR)$(SBINDIR)/
	install -v -m 0755 $(B)/mcseal $(B)/mcping $(B)/mcplc $(B)/mcload $(DESTDIR)$(BINDIR)/
	install -v -m 0755 certs/mcseal-pki $(DESTDIR)$(BINDIR)/mcseal-pki
	install -v -m 0644 README.md README.ja.md docs/*.md docs/*.example $(DESTDIR)$(DOCDIR)/
	install -v -m 0644 docs/examples/* $(DESTDIR)$(DOCDIR)/examples/
	for folder in $(PAGE_FOLDERS); do install -v -D -m 0644 -t $(DESTDIR)$(DOCDIR)/$$folder docs/$$folder/*.md || exit 1; done
	install -v -d $(foreach section,1 5 8,$(DESTDIR)$(MANDIR)/man$(section))
	for page in $(MANUALS); do to=$(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/}; \
		sed 's,/usr/local/share/doc/mcseal,$(DOCDIR),g' $$page > $$to && chmod 0644 $$to || exit 1; done
	ln -sf mcseald.conf.5 $(DESTDIR)$(MANDIR)/man5/mcseal.conf.5
	install -v -d $(DESTDIR)$(DATADIR)/mcseal/wireshark
	install -v -m 0644 tools/wireshark/*.lua $(DESTDIR)$(DATADIR)/mcseal/wireshark/
	install -v -d $(DESTDIR)$(UNITDIR)
	for unit in $(UNITS); do sed -e 's,@SBINDIR@,$(SBINDIR),g' -e 's,@DOCDIR@,$(DOCDIR),g' systemd/$$unit.in > \
		$(DESTDIR)$(UNITDIR)/$$unit && chmod 0644 $(DESTDIR)$(UNITDIR)/$$unit || exit 1; done
	for kind in $(SYSTEMD_KINDS); do install -v -D -m 0644 systemd/mcseal.$$kind $(DESTDIR)$(SYSTEMDDIR)/$$kind.d/mcseal.conf || exit 1; done

uninstall: ## remove what install put there; configuration and keys stay
	rm -f $(addprefix $(DESTDIR)$(SBINDIR)/,mcseald mcseal-nft) $(addprefix $(DESTDIR)$(BINDIR)/,mcseal mcping mcplc mcload mcseal-pki)
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS)) $(SYSTEMD_KINDS:%=$(DESTDIR)$(SYSTEMDDIR)/%.d/mcseal.conf)
	rm -f $(foreach page,$(notdir $(MANUALS)) mcseal.conf.5,$(DESTDIR)$(MANDIR)/man$(subst .,,$(suffix $(page)))/$(page))
	rm -rf $(DESTDIR)$(DOCDIR) $(DESTDIR)$(DATADIR)/mcseal

clean: ## remove build/
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- rules ---------------------------------------------------------------------------------------

# Objects depend on the flags they were built with, so that a changed flag or package rebuilds.
$(B)/flags: FORCE
	@mkdir -p $(B)
	@printf '%s\n' '$(subst ','\'',$(CC) $(filter-out -DMCSEAL_VERSION%,$(ALL_CFLAGS)))' | cmp -s - $@ || \
		printf '%s\n' '$(subst ','\'',$(CC) $(filter-out -DMCSEAL_VERSION%,$(ALL_CFLAGS)))' > $@
# Those that tell the version, on it.
$(B)/version: FORCE
	@mkdir -p $(B)
	@echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@
$(patsubst %.c,$(B)/obj/%.o,$(shell grep -rlw MCSEAL_VERSION --include='*.c' daemon nft-rules bench tools tests/unit)): $(B)/version
.PHONY: FORCE
FORCE:

$(B)/obj/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(B)/libmcseal.a: $(LIB_SOURCES:%.c=$(B)/obj/%.o)
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

define program_rule
$(B)/$(1): $($(1)_SOURCES:%.c=$(B)/obj/%.o) $(B)/libmcseal.a
	$$(call say,LD,$$@)$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $$(PKG_LIBS) $$(LIBS)
endef
$(foreach program,$(filter-out mcseal-nft,$(PROGRAMS)),$(eval $(call program_rule,$(program))))

$(B)/mcseal-nft: $(mcseal-nft_SOURCES:%.c=$(B)/obj/%.o) $(B)/libmcseal.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(NFT_LIBS) $(LIBS)

.SECONDEXPANSION:
extra = $(addprefix $(B)/obj/,$(addsuffix .o,$(basename $(EXTRA_$(1)))))

$(B)/mc_tables: $(B)/obj/tools/mc_tables.o $(B)/libmcseal.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Of the end-to-end tests: what daemon/mc says of a frame.
$(B)/mc_judge: $(B)/obj/tests/judge/mc_judge.o $(B)/libmcseal.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Loaded into a daemon by a test.
$(B)/count_allocations.so $(B)/fail_calls.so $(B)/jump_clock.so: $(B)/%.so: tests/judge/%.c $(B)/flags
	$(call say,CC,$@)$(CC) -std=gnu11 -O2 -g -D_GNU_SOURCE $(WARNINGS) $(WERROR) -fPIC -shared -o $@ $<

$(B)/tests/%: $(B)/obj/tests/unit/%.o $$(call extra,$$*) $(B)/libmcseal.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) $(WRAP_$*:%=-Wl,--wrap=%) -o $@ $^ $(PKG_LIBS) -lcmocka $(LIBS_$*) $(LIBS)

$(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $$(call extra,fuzz_$$*) $(B)/libmcseal.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS) $(LIBS)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
