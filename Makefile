# Tapedeck. `make` builds, `make demo` shows, `make check` tests, `make bench` measures.
# BUILD, CC, CFLAGS, CPPFLAGS, LDFLAGS, DESTDIR and prefix may be set on the command line.

BUILD       ?= build
CC          ?= cc
CFLAGS      ?= -O2 -g
PYTHON      := /usr/bin/python3
VERSION     := 0.1.0

prefix      ?= /usr/local
bindir      ?= $(prefix)/bin
libdir      ?= $(prefix)/lib
includedir  ?= $(prefix)/include
mandir      ?= $(prefix)/share/man
pkgconfigdir ?= $(libdir)/pkgconfig

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef \
            -Wpointer-arith -Wwrite-strings -Wformat=2 -Wno-format-nonliteral
WERROR   ?=
DEFINES  := -I. -D_GNU_SOURCE -DTAPE_VERSION='"$(VERSION)"'
COMPILE   = $(CC) -std=gnu11 $(WARNINGS) $(WERROR) $(DEFINES) $(CPPFLAGS) $(CFLAGS) $(SANITIZE) -fPIC \
            -fvisibility=default -pthread -MMD -MP
LINK      = $(CC) $(CFLAGS) $(SANITIZE) $(LDFLAGS) -pthread

LIBS_FORMAT := -lzstd -lsqlite3 -lcjson -lm
LIBS_RECORD := -lssl -lcrypto $(LIBS_FORMAT)
LIBS_REPLAY := -lssl -lcrypto $(LIBS_FORMAT)

FORMAT_C  := $(wildcard format/*.c)
RECORD_C  := $(wildcard record/*.c)
REPLAY_C  := $(wildcard replay/*.c)
SOURCE_C  := $(wildcard replay/source*.c replay/reel*.c) \
             $(addprefix replay/,lateness.c timespec.c span.c catalog.c)
SANITIZE  ?=
UNIT_C    := $(wildcard tests/unit/*_test.c)
PART_C    := $(wildcard tests/part/*.c)
FUZZ_C    := $(wildcard tests/fuzz/*_fuzz.c)
PUBLIC_H  := format/error.h format/record.h format/tick.h format/feed.h format/book.h replay/source.h \
             replay/source_layout.h

GENERATED := $(BUILD)/format/venues.c $(BUILD)/format/index_schema.c
FORMAT_O  := $(FORMAT_C:%.c=$(BUILD)/%.o) $(GENERATED:.c=.o)
RECORD_O  := $(RECORD_C:%.c=$(BUILD)/%.o)
REPLAY_O  := $(REPLAY_C:%.c=$(BUILD)/%.o)
SOURCE_O  := $(SOURCE_C:%.c=$(BUILD)/%.o)
UNIT      := $(UNIT_C:%.c=$(BUILD)/%)
PART      := $(PART_C:%.c=$(BUILD)/%)
FUZZ      := $(FUZZ_C:%.c=$(BUILD)/%)

LIB_A  := $(BUILD)/libtapedeck.a
LIB_SO := $(BUILD)/libtapedeck.so.0

.PHONY: all demo check lint fuzz bench format install uninstall clean unit part fuzz-build bench-build
.SECONDARY:
.DELETE_ON_ERROR:

all: $(BUILD)/tape-record $(BUILD)/tape-replay $(LIB_A) $(LIB_SO) $(BUILD)/tape.h

# ---- generated sources ----
$(BUILD)/format/venues.c: format/venues/embed.sh $(wildcard format/venues/*.json)
	@mkdir -p $(@D)
	sh format/venues/embed.sh $(wildcard format/venues/*.json) > $@

$(BUILD)/format/index_schema.c: format/embed_sql.sh format/index.sql
	@mkdir -p $(@D)
	sh format/embed_sql.sh format/index.sql > $@

$(BUILD)/format/%.o: $(BUILD)/format/%.c
	$(COMPILE) -c -o $@ $<

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

# ---- library and programs ----
$(LIB_A): $(FORMAT_O) $(SOURCE_O)
	@rm -f $@
	$(AR) rcs $@ $^

$(LIB_SO): $(FORMAT_O) $(SOURCE_O)
	$(LINK) -shared -Wl,-soname,$(@F) -Wl,--no-undefined -o $@ $^ $(LIBS_FORMAT)
	@ln -sf $(@F) $(BUILD)/libtapedeck.so

$(BUILD)/tape-record: $(RECORD_O) $(LIB_A)
	$(LINK) -o $@ $(RECORD_O) $(LIB_A) $(LIBS_RECORD)

$(BUILD)/tape-replay: $(REPLAY_O) $(LIB_A)
	$(LINK) -o $@ $(filter-out $(SOURCE_O),$(REPLAY_O)) $(LIB_A) $(LIBS_REPLAY)

$(BUILD)/tape.h: replay/join_header.sh $(PUBLIC_H)
	@mkdir -p $(@D)
	sh replay/join_header.sh $(PUBLIC_H) > $@

# ---- tests ----
# A test of a file in record/ or replay/ gets that room's objects; both rooms have an options.c, so
# never the two together.
RECORD_PARTS := $(filter-out $(BUILD)/record/main.o,$(RECORD_O))
REPLAY_PARTS := $(filter-out $(BUILD)/replay/main.o $(SOURCE_O),$(REPLAY_O))
room_of       = $(if $(wildcard record/$(1).c),$(RECORD_PARTS),$(if $(wildcard replay/$(1).c),$(REPLAY_PARTS)))

$(BUILD)/tests/unit/%_test: tests/unit/%_test.c $(LIB_A) $(RECORD_PARTS) $(REPLAY_PARTS)
	@mkdir -p $(@D)
	$(COMPILE) $(LDFLAGS) -o $@ $< $(call room_of,$*) $(LIB_A) -lcmocka $(LIBS_RECORD)

# What the player's network side does is tested with a server of its own.
$(BUILD)/tests/part/echo_server: tests/part/echo_server.c $(LIB_A) $(REPLAY_PARTS)
	@mkdir -p $(@D)
	$(COMPILE) $(LDFLAGS) -o $@ $< $(REPLAY_PARTS) $(LIB_A) $(LIBS_REPLAY)

$(BUILD)/tests/part/%: tests/part/%.c $(LIB_A) $(RECORD_PARTS)
	@mkdir -p $(@D)
	$(COMPILE) $(LDFLAGS) -o $@ $< $(RECORD_PARTS) $(LIB_A) $(LIBS_RECORD)

# Clients and sender of the benchmark; tape_client brings a store of its own.
BENCH := $(addprefix $(BUILD)/tests/bench/,sender floor_client beast_client wslay_client tape_client packed \
         timed_record reader follower relative discard serve_server) $(BUILD)/tests/part/store_feed
# From an archive of record/'s objects the linker takes the network side only: the store is tape_client's.
$(BUILD)/record.a: $(RECORD_PARTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/tests/bench/tape_client: tests/bench/tape_client.c $(LIB_A) $(BUILD)/record.a
	@mkdir -p $(@D)
	$(COMPILE) $(LDFLAGS) -o $@ $< $(BUILD)/record.a $(LIB_A) $(LIBS_RECORD)

$(addprefix $(BUILD)/tests/bench/,packed reader follower): $(BUILD)/tests/bench/%: tests/bench/%.c $(LIB_A)
	@mkdir -p $(@D)
	$(COMPILE) $(LDFLAGS) -o $@ $< $(LIB_A) $(LIBS_FORMAT)

$(BUILD)/tests/bench/timed_record: tests/bench/timed_record.c $(RECORD_O) $(LIB_A)
	@mkdir -p $(@D)
	$(COMPILE) $(LDFLAGS) -Wl,--wrap=tape_store_reserve,--wrap=tape_store_publish -o $@ $< $(RECORD_O) \
	    $(LIB_A) $(LIBS_RECORD)

$(BUILD)/tests/bench/serve_server: tests/bench/serve_server.c $(LIB_A) $(REPLAY_PARTS)
	@mkdir -p $(@D)
	$(COMPILE) $(LDFLAGS) -o $@ $< $(REPLAY_PARTS) $(LIB_A) $(LIBS_REPLAY)

$(BUILD)/tests/bench/%: tests/bench/%.c tests/bench/report.h
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(LDFLAGS) -lssl -lcrypto $(if $(findstring wslay,$*),-lwslay)

$(BUILD)/tests/bench/%: tests/bench/%.cpp tests/bench/report.h
	@mkdir -p $(@D)
	$(CXX) -std=c++17 -O2 -I. $< -o $@ -lssl -lcrypto -pthread

bench-build: $(BENCH)

unit: $(UNIT)
part: $(PART)
fuzz-build: $(FUZZ)

# Fuzz targets are whole programs of their own, made by clang from the format room's sources.
$(BUILD)/tests/fuzz/%_fuzz: tests/fuzz/%_fuzz.c $(LIB_A) $(REPLAY_PARTS)
	@mkdir -p $(@D)
	$(COMPILE) -Wno-missing-prototypes -fsanitize=fuzzer $(LDFLAGS) -o $@ $< $(call room_of,$*) $(LIB_A) $(LIBS_RECORD)

SAN_ADDRESS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SAN_THREAD  := -fsanitize=thread -fno-omit-frame-pointer
SAN_FUZZ    := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
FUZZ_SECONDS ?= 5
JOBS        ?= $(shell nproc)

# Everything below is built with warnings as errors.
check:
	@sh tests/setup.sh check
	@echo "building: as shipped, for AddressSanitizer, for ThreadSanitizer, for libFuzzer"
	@$(MAKE) -s -j$(JOBS) WERROR=-Werror all unit part
	@$(MAKE) -s -j$(JOBS) WERROR=-Werror BUILD=$(BUILD)/address CFLAGS="-O1 -g" SANITIZE="$(SAN_ADDRESS)" all unit part
	@$(MAKE) -s -j$(JOBS) WERROR=-Werror BUILD=$(BUILD)/thread CFLAGS="-O1 -g" SANITIZE="$(SAN_THREAD)" all unit part
	@$(MAKE) -s -j$(JOBS) WERROR=-Werror BUILD=$(BUILD)/fuzz CC=clang-14 CFLAGS="-O1 -g" SANITIZE="$(SAN_FUZZ)" fuzz-build
	@$(PYTHON) tests/run.py --build $(BUILD) --fuzz-seconds $(FUZZ_SECONDS)

fuzz:
	@sh tests/setup.sh check
	@$(MAKE) -s -j$(JOBS) BUILD=$(BUILD)/fuzz CC=clang-14 CFLAGS="-O1 -g" SANITIZE="$(SAN_FUZZ)" fuzz-build
	@$(PYTHON) tests/run.py --build $(BUILD) --fuzz-seconds 600 --only fuzz

lint:
	@sh tests/setup.sh check
	@$(PYTHON) tests/lint.py

format:
	clang-format-14 -i $(wildcard format/*.[ch] record/*.[ch] replay/*.[ch] samples/*.c tests/*/*.[ch])

demo:
	@sh tests/setup.sh run
	@$(MAKE) -s -j$(JOBS) all
	@BUILD=$(BUILD) $(PYTHON) tests/demo/run.py

# SECTIONS="packed pace": only these.
bench:
	@sh tests/setup.sh bench
	@$(MAKE) -s -j$(JOBS) all bench-build
	@BUILD=$(BUILD) $(PYTHON) tests/bench/run.py $(SECTIONS)

# ---- installation ----
# tapedeck.pc is made here, not by `make`: it names the prefix, and a build may be installed under several.
INSTALL ?= install
install: all
	$(INSTALL) -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir) $(DESTDIR)$(includedir) \
	    $(DESTDIR)$(pkgconfigdir) $(DESTDIR)$(mandir)/man1 $(DESTDIR)$(mandir)/man3
	$(INSTALL) -m 755 $(BUILD)/tape-record $(BUILD)/tape-replay $(DESTDIR)$(bindir)
	$(INSTALL) -m 644 $(LIB_A) $(LIB_SO) $(DESTDIR)$(libdir)
	ln -sf $(notdir $(LIB_SO)) $(DESTDIR)$(libdir)/libtapedeck.so
	$(INSTALL) -m 644 $(BUILD)/tape.h $(DESTDIR)$(includedir)
	sed -e 's|@prefix@|$(prefix)|;s|@libdir@|$(libdir)|;s|@includedir@|$(includedir)|;s|@version@|$(VERSION)|' \
	    replay/tapedeck.pc.in > $(DESTDIR)$(pkgconfigdir)/tapedeck.pc
	chmod 644 $(DESTDIR)$(pkgconfigdir)/tapedeck.pc
	$(INSTALL) -m 644 record/tape-record.1 replay/tape-replay.1 $(DESTDIR)$(mandir)/man1
	$(INSTALL) -m 644 replay/libtapedeck.3 $(DESTDIR)$(mandir)/man3

uninstall:
	rm -f $(addprefix $(DESTDIR)$(bindir)/,tape-record tape-replay) \
	    $(addprefix $(DESTDIR)$(libdir)/,libtapedeck.a libtapedeck.so libtapedeck.so.0) \
	    $(DESTDIR)$(includedir)/tape.h $(DESTDIR)$(pkgconfigdir)/tapedeck.pc \
	    $(addprefix $(DESTDIR)$(mandir)/man1/,tape-record.1 tape-replay.1) \
	    $(DESTDIR)$(mandir)/man3/libtapedeck.3

clean:
	rm -rf $(BUILD)

-include $(FORMAT_O:.o=.d) $(RECORD_O:.o=.d) $(REPLAY_O:.o=.d) $(UNIT:=.d) $(PART:=.d) $(FUZZ:=.d)
