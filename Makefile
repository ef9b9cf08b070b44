# `make` builds the programs and leaves them here; `make run` starts a mail server; `make test` runs every test;
# `make install PREFIX=DIR` puts the programs into DIR/bin and their man pages into DIR/share/man.
# Cargo does the work: this file only says which of it.

CARGO    ?= cargo
PREFIX   ?= /usr/local
PROGRAMS := echoserver smtp pop3 forward pillarbox echo-test smtp-test pop3-test

# What the classic programs need to build: their sources, and what every store has to do as a test. It must stay small: the
# testers and the other tests are for who works on the project. What manifests say of them is left out by the packer.
PACKED = Cargo.toml Cargo.lock Makefile README.md LICENSE \
	'crates/*/Cargo.toml' 'crates/*/src/*' ':(exclude)crates/probe' \
	':(exclude)crates/*/src/**/tests.rs' ':(exclude)crates/store/src/crash_tests*' \
	':(exclude)crates/store/src/check*' ':(exclude)crates/pillarbox/src/fsck*' ':(exclude)crates/pillarbox/src/torture*' \
	crates/store/tests/conformance.rs crates/store/tests/common

# In the packed sources there are neither testers nor the tools of `pillarbox`.
IS_PACKED := $(if $(wildcard crates/probe),,yes)
FEATURES  := $(if $(IS_PACKED),--no-default-features)
ifdef IS_PACKED
PROGRAMS  := $(filter-out %-test,$(PROGRAMS))
endif

# States are made until so many are there; some are the same.
CRASH_STATES ?= 270000

all: programs

programs:
	$(CARGO) build --release --bins $(FEATURES)
	@$(CARGO) build --quiet --release --bins $(FEATURES) --message-format=json | \
		sed -n 's|.*"executable":"\($(CURDIR)/\)\{0,1\}\([^"]*\)".*|\2|p' | \
		while read -r built; do ln -sf "$$built" .; done

# Whoever installs what is there needs no Cargo.
$(PROGRAMS) &:
	@$(MAKE) --no-print-directory programs

# Starts a mail server on localhost: SMTP on 2500, POP3 on 11000, mail in ./mailtest. It sends nothing to other hosts.
# SERVE='--smtp 2501 --pop3 11001' takes other ports; every option of `pillarbox serve` can stand there.
run: programs
	@echo ./pillarbox serve $(SERVE)
	@./pillarbox serve $(SERVE) || { status=$$?; \
		[ $$status -ne 69 ] || echo "For other ports: make run SERVE='--smtp 2501 --pop3 11001'" >&2; exit $$status; }

# Formatting, lints, documentation, and all tests, those on the real binaries included. Needs Rust, make and git only.
# The packed sources come without the tests of modules, which are inside of them: there it runs those beside them.
test:
ifeq ($(IS_PACKED),)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --quiet
	$(CARGO) test --workspace
else
	$(CARGO) test --workspace --test '*' $(FEATURES)
endif

# Other mail programs against the real binaries. Needs Debian packages and names those that are missing.
# KIT=DIR runs the client kit in DIR as well.
interop: programs
	python3 interop/run.py $(if $(KIT),--kit '$(KIT)')

# Kills servers while they work, for TIME, and looks whether mail is lost, twice or torn. What is found stays in ./torture.
TIME ?= 10m
torture: programs
	rm -rf torture
	./pillarbox torture --time $(TIME) torture
	rm -rf torture

# Faults that are planted into the store, each of which a test must find (docs/crash-tests.md).
mutants:
	mutants/run

# The crash tests at length: at least 100,000 different states after power cuts with each of three seeds, and all
# numbered faults, with all pairs of failures.
crash:
	@for seed in 1 2 3; do \
		PILLARBOX_CRASH_SEED=$$seed PILLARBOX_CRASH_STATES=$(CRASH_STATES) \
			$(CARGO) test --release --package pillarbox-store --lib -- --nocapture power_cuts || exit 1; \
	done
	PILLARBOX_CRASH_PAIRS=1 $(CARGO) test --release --package pillarbox-store --lib -- --nocapture numbered

# How fast it is: the parsers, then the programs under load; the figures go to docs/performance.md. BENCH=DIR also runs
# the side-by-side harness in DIR, with the peers in BENCH_PEERS, which have to be installed. Large messages are compared
# with those in BENCH_LARGE too, and ten thousand clients are more than the classic `smtp` takes, so `pillarbox serve` is
# measured as well, with BENCH_MANY. Fewer BENCH_RUNS and BENCH_SECONDS take less time.
BENCH_RUNS      ?= 3
BENCH_SECONDS   ?= 10
BENCH_WORKLOADS ?= S2 S3 sessions P1 P2 open P3
BENCH_PEERS     ?= ours,postfix,exim,aiosmtpd,dovecot,popa3d
BENCH_SIDE      ?= S1,S2,S3,S5,S6,P1,P2,P3,P4,F1
BENCH_LARGE     ?= ours,postfix,exim,aiosmtpd,opensmtpd
BENCH_MANY      ?= ours,aiosmtpd
# Harness: its peers, our program for SMTP, workloads, and where its figures go.
side_by_side = cd '$(BENCH)' && python3 run.py --peers $(1) --ours-smtp '$(CURDIR)/$(2)' --ours-pop3 '$(CURDIR)/pop3' \
	--workloads $(3) --runs $(BENCH_RUNS) --limit $(BENCH_SECONDS) --out '$(CURDIR)/bench/results/$(4).json'

bench: programs
	rm -rf bench/results
	mkdir -p bench/results
	CRITERION_HOME='$(CURDIR)/bench/results/criterion' $(CARGO) bench --manifest-path bench/Cargo.toml
	$(CARGO) run --release --manifest-path bench/Cargo.toml --bin load -- --smtp ./smtp --pop3 ./pop3 \
		--runs $(BENCH_RUNS) --seconds $(BENCH_SECONDS) --out bench/results/load.json $(BENCH_WORKLOADS)
ifneq ($(BENCH),)
	$(call side_by_side,$(BENCH_PEERS),smtp,$(BENCH_SIDE),side)
	$(call side_by_side,$(BENCH_LARGE),smtp,S4,large)
	$(call side_by_side,$(BENCH_MANY),bench/serve,S5,many)
	{ for part in side large; do python3 '$(BENCH)/report.py' bench/results/$$part.json || exit 1; done; \
		printf '\nWith `pillarbox serve --max-connections 12000`:\n\n'; \
		python3 '$(BENCH)/report.py' bench/results/many.json; } >bench/results/side.md
endif
	python3 bench/report.py --load bench/results/load.json --criterion bench/results/criterion \
		--side bench/results/side.md --command 'make bench BENCH_RUNS=$(BENCH_RUNS) BENCH_SECONDS=$(BENCH_SECONDS)'

# Installs the programs that `make` has left here, and makes them only when there are none. They are stripped: the ones
# here keep the tables that give a backtrace its lines, which are nine tenths of them. The packed sources come without man
# pages. DESTDIR is put in front of PREFIX, for who makes packages.
install: $(PROGRAMS)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(PREFIX)/share/man/man1'
	install -s $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin'
	$(if $(wildcard docs/man),install -m 644 docs/man/*.1 '$(DESTDIR)$(PREFIX)/share/man/man1')

# A .zip of what the classic programs need, from what is committed; the packer fails when it is too large.
# holds C-M1
pack:
	@rm -f pillarbox.zip pillarbox.zip.new
	@git status --short --untracked-files=all -- $(PACKED) | \
		sed '1i warning: the package is made of what is committed, without these changes:' >&2
	git archive --format=zip -0 -o pillarbox.zip.new HEAD $(PACKED)
	$(CARGO) run --quiet --release --manifest-path pack/Cargo.toml -- pillarbox.zip.new pillarbox.zip
	@rm pillarbox.zip.new

clean:
	$(CARGO) clean
	rm -f $(PROGRAMS) pillarbox.zip

.PHONY: all programs run test interop torture mutants crash bench install pack clean
