# What one does with a checkout. `make test` needs neither root nor a package manager; the
# components that its tests look for come with `make test-deps`.

PREFIX = /usr/local
DESTDIR =

# The system's interpreter where it is new enough: it is the one that bin/sendmail runs under.
PYTHON := $(shell for python in /usr/bin/python3 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# The python3-* are what the installed system runs with; pflogsumm reads our log; tcc makes a name service that fails;
# mmdebstrap makes the root of the programs that tests/compat/real/packages.txt names.
TEST_PACKAGES = python3-venv strace e2fsprogs xfsprogs util-linux iproute2 make passwd procps \
	python3-dnspython python3-filelock python3-daemon python3-cryptography pflogsumm tcc swaks mandoc \
	curl msmtp s-nail openssl \
	procmail maildrop vacation liblockfile-bin mutt dovecot-lmtpd dovecot-imapd dovecot-pop3d \
	dovecot-submissiond mmdebstrap
PRINT_DEPENDENCIES = import configparser; \
	c = configparser.ConfigParser(interpolation=None); c.read("setup.cfg"); print(c["options"]["install_requires"])

.PHONY: help venv demo test test-deps check bench install

help:
	@echo "make venv | demo | test | test-deps (root) | check | bench | install [PREFIX= DESTDIR=]"

# The dependencies and tools, never sendmail_py itself: what runs is the checkout.
venv: .venv/made

.venv/made: setup.cfg tests/requirements-test.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PYTHON) -c '$(PRINT_DEPENDENCIES)' > .venv/dependencies.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		-r .venv/dependencies.txt -r tests/requirements-test.txt
	touch $@

demo: venv
	.venv/bin/python demo/demo.py

check: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test: check
	.venv/bin/python -m pytest

test-deps:
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(TEST_PACKAGES)
	tests/compat/real/make-root
	tests/integration/root/make-postfix

bench:
	N="$(N)" ROUNDS="$(ROUNDS)" benchmarks/run

# The package goes beside the old one and takes its place as a whole. The byte code bears the
# installed path (never DESTDIR), and is checked by time stamp: a checked hash would read every
# source file again at each start. sendmail is installed twice, not linked: where sbin is a link to
# bin, a link from one to the other would replace the program by itself. Its oldest name, in lib, is
# the first that some programs try, and the file system standard asks for it.
SHARE = $(PREFIX)/share/sendmail-py
NEW = $(DESTDIR)$(SHARE)/new
MAN = $(DESTDIR)$(PREFIX)/share/man
install:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	rm -rf $(NEW)
	install -d $(NEW) $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib
	tar -c --exclude=__pycache__ sendmail_py | tar -x --no-same-owner -C $(NEW)
	$(PYTHON) -I -m compileall -q --invalidation-mode timestamp -s $(NEW) -p $(SHARE) $(NEW)/sendmail_py
	$(PYTHON) -IS -X no_debug_ranges $(NEW)/sendmail_py/commands/fast_modules.py $(NEW) $(SHARE)
	chmod -R u=rwX,go=rX $(NEW)
	rm -rf $(DESTDIR)$(SHARE)/sendmail_py
	mv $(NEW)/sendmail_py $(DESTDIR)$(SHARE)/sendmail_py
	rmdir $(NEW)
	install -m 755 bin/sendmail $(DESTDIR)$(PREFIX)/bin/sendmail
	install -m 755 bin/sendmail $(DESTDIR)$(PREFIX)/sbin/sendmail
	install -m 755 bin/mailctl $(DESTDIR)$(PREFIX)/bin/mailctl
	ln -sfn sendmail $(DESTDIR)$(PREFIX)/bin/mailq
	ln -sfn sendmail $(DESTDIR)$(PREFIX)/bin/newaliases
	ln -sfn sendmail $(DESTDIR)$(PREFIX)/bin/rmail
	ln -sfn ../sbin/sendmail $(DESTDIR)$(PREFIX)/lib/sendmail
	install -d $(MAN)/man1 $(MAN)/man5 $(MAN)/man8
	install -m 644 docs/man/*.1 $(MAN)/man1
	install -m 644 docs/man/*.5 $(MAN)/man5
	install -m 644 docs/man/*.8 $(MAN)/man8
	umask 022 && $(PYTHON) -B docs/man/main_cf.py > $(MAN)/man5/main.cf.5
