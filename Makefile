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
	python3-dnspython python3-filelock python3-daemon python3-cryptography pflogsumm systemd tcc swaks mandoc \
	curl msmtp s-nail openssl ca-certificates \
	procmail maildrop vacation liblockfile-bin mutt dovecot-lmtpd dovecot-imapd dovecot-pop3d \
	dovecot-submissiond dovecot-ldap mmdebstrap tmux zsh postgrey haproxy rspamd opendkim unbound nsd ldnsutils
PRINT_DEPENDENCIES = import configparser; \
	c = configparser.ConfigParser(interpolation=None); c.read("setup.cfg"); print(c["options"]["install_requires"])

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' sendmail_py/__init__.py)

.PHONY: help venv demo test test-deps check fuzz soak bench install sdist wheel rpm deb tarball test-packages

help:
	@echo "make venv | demo | test | test-deps (root) | check | fuzz [FUZZ=seconds] | soak | bench"
	@echo "make install [PREFIX= DESTDIR= POSTFIX_VERBS=]"
	@echo "make sdist | wheel | rpm [RPM_KINDS='el9 el10 fedora'] | deb | test-packages (root)"

# The dependencies and tools, never sendmail_py itself: what runs is the checkout.
venv: .venv/made

.venv/made: setup.cfg tests/requirements-test.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	$(PYTHON) -c '$(PRINT_DEPENDENCIES)' > .venv/dependencies.txt
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		-r .venv/dependencies.txt -r tests/requirements-test.txt
# Beside the others: what is installed there is used by the tests that ask for it, and by no others.
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --upgrade \
		--target .venv/uvloop uvloop || echo "There is no uvloop for this machine; nothing is tested with it."
	touch $@

demo: venv
	.venv/bin/python demo/demo.py

check: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Most tests wait more than they compute.
WORKERS := $(shell echo $$(($$(nproc) * 2)))
test: check
	.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not alone"
	.venv/bin/python -m pytest -m alone

# Each of the fuzzers for so long; the properties of the unit tests with a hundred times their examples.
FUZZ = 300
fuzz: venv
	TEST_LIMIT=0 FUZZ_SECONDS=$(FUZZ) .venv/bin/python -m pytest -s tests/fuzz
	TEST_LIMIT=0 FUZZ_EXAMPLES=10000 .venv/bin/python -m pytest tests/unit/protocol

# Many simulated weeks of the queue: what make test does with a few.
soak: venv
	TEST_LIMIT=0 SIMULATIONS=2000 .venv/bin/python -m pytest tests/simulation

# The two roots at the same time: each waits for the network and the disk while the other computes.
test-deps:
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(TEST_PACKAGES)
	tests/integration/root/make-fresh & fresh=$$!; tests/compat/real/make-root && \
		tests/integration/root/make-postfix && tests/integration/make-log-readers; made=$$?; wait $$fresh && exit $$made

bench:
	N="$(N)" ROUNDS="$(ROUNDS)" benchmarks/run

# Both in dist/, and both checked.
sdist wheel: .venv-dist/made
	rm -rf build sendmail_py.egg-info
	.venv-dist/bin/python -m build --no-isolation --$@ . > .venv-dist/log 2>&1 || { cat .venv-dist/log >&2; exit 1; }
	rm -rf build sendmail_py.egg-info
	.venv-dist/bin/twine check --strict dist/*py-$(VERSION)*$(if $(filter wheel,$@),.whl,.tar.gz)
	$(if $(filter wheel,$@),.venv-dist/bin/check-wheel-contents dist/*py-$(VERSION)*.whl)

.venv-dist/made:
	test -x .venv-dist/bin/python || $(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check \
		build twine check-wheel-contents 'setuptools>=80'
	touch $@

# The tree without what tools leave in it, as the source of the packages of distributions.
TARBALL = dist/sendmail-py-$(VERSION).tar.gz
tarball:
	mkdir -p dist
	tar -c --exclude-vcs --exclude='./.venv*' --exclude='./.*_cache' --exclude=./.hypothesis --exclude=./dist \
		--exclude=__pycache__ --owner=0 --group=0 --sort=name --transform 's,^\.,sendmail-py-$(VERSION),' . | gzip -n > $(TARBALL)

# A package is compiled for the Python of the distribution that builds it; elsewhere its installation compiles it.
# Debian's rpm knows no packages to require for a build: --nodeps. EL 9's brings some libraries along.
RPM_KINDS = el9 el10 fedora
RPM_RELEASE = 1
# As the macros of EL 10 and of Fedora have it: no file is younger than the last entry of the changelog.
RPM_TIMES = --define 'source_date_epoch_from_changelog 1' --define 'clamp_mtime_to_source_date_epoch 1'
RPM_el9 = --define 'rhel 9' --define 'dist .el9'
RPM_el10 = --define 'rhel 10' --define 'dist .el10' $(RPM_TIMES)
RPM_fedora = --define 'fedora 43' --define 'dist .fc43' --define '_sbindir /usr/bin' $(RPM_TIMES)
rpm: $(RPM_KINDS:%=rpm-%)

rpm-el9: dist/bundled/made
dist/bundled/made: packaging/rpm/bundled.txt | venv
	rm -rf dist/bundled
	.venv/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		-d dist/bundled -r packaging/rpm/bundled.txt
	touch $@

rpm-%: tarball
	@command -v rpmbuild >/dev/null || { echo "rpmbuild is needed: apt-get install rpm" >&2; exit 1; }
	rm -rf dist/rpmbuild-$*
	mkdir -p dist/rpmbuild-$*/SOURCES
	cp $(TARBALL) dist/rpmbuild-$*/SOURCES
	test $* != el9 || cp dist/bundled/*.whl dist/rpmbuild-$*/SOURCES
	rpmbuild -bb --quiet --nodeps --define "_topdir $(CURDIR)/dist/rpmbuild-$*" $(RPM_$*) \
		--define 'package_version $(VERSION)' --define 'release_number $(RPM_RELEASE)' packaging/rpm/sendmail-py.spec
	mv dist/rpmbuild-$*/RPMS/noarch/*.rpm dist/
	rm -rf dist/rpmbuild-$*

# debian/ is where its tools look for it, in a copy; the changelog has the version of the package alone.
deb: tarball
	@command -v dh >/dev/null || { echo "debhelper is needed: apt-get install debhelper dpkg-dev" >&2; exit 1; }
	rm -rf dist/deb
	mkdir -p dist/deb
	tar -xzf $(TARBALL) -C dist/deb
	cp -r packaging/debian dist/deb/sendmail-py-$(VERSION)/debian
	sed -i '1s/(.*)/($(VERSION))/' dist/deb/sendmail-py-$(VERSION)/debian/changelog
	cd dist/deb/sendmail-py-$(VERSION) && dpkg-buildpackage --build=binary --no-sign -d > ../log 2>&1 || { cat ../log >&2; exit 1; }
	mv dist/deb/*.deb dist/
	rm -rf dist/deb

# The packages, built, installed, upgraded and erased on machines of their own under systemd. After test-deps.
test-packages: venv dist/bundled/made
	packaging/tests/make-root
	.venv/bin/python -m pytest -p no:cacheprovider packaging/tests

# The package goes beside the old one and takes its place as a whole, as each program does, so that mail is taken
# meanwhile. The byte code bears the installed path (never DESTDIR), and is checked by time stamp: a checked hash would
# read every source file again at each start. sendmail is installed twice, not linked: where sbin is a link to
# bin, a link from one to the other would replace the program by itself. Its oldest name, in lib, is
# the first that some programs try, and the file system standard asks for it.
# POSTFIX_VERBS=yes installs Postfix's names for mailctl's verbs too.
VERBS = postconf postqueue postsuper postcat postmap postalias postfix
SHARE = $(PREFIX)/share/sendmail-py
NEW = $(DESTDIR)$(SHARE)/new
MAN = $(DESTDIR)$(PREFIX)/share/man
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd/system
BASH_COMPLETION = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSH_COMPLETION = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
install:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	rm -rf $(NEW)
	install -d $(NEW) $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/lib
	tar -c --exclude=__pycache__ sendmail_py | tar -x --no-same-owner -C $(NEW)
	$(PYTHON) -I -m compileall -q --invalidation-mode timestamp -s $(NEW) -p $(SHARE) $(NEW)/sendmail_py
	$(PYTHON) -IS -X no_debug_ranges $(NEW)/sendmail_py/commands/fast_modules.py $(NEW) $(SHARE)
	chmod -R u=rwX,go=rX $(NEW)
	$(PYTHON) -I packaging/swap.py $(NEW)/sendmail_py $(DESTDIR)$(SHARE)/sendmail_py
	rm -rf $(NEW)
	for place in $(DESTDIR)$(PREFIX)/bin/sendmail $(DESTDIR)$(PREFIX)/sbin/sendmail; do \
		install -m 755 bin/sendmail $$place.new && mv -f $$place.new $$place || exit 1; done
	install -m 755 bin/mailctl $(DESTDIR)$(PREFIX)/bin/mailctl
	test -z "$(POSTFIX_VERBS)" || for verb in $(VERBS); do ln -sfn mailctl $(DESTDIR)$(PREFIX)/bin/$$verb; done
	ln -sfn sendmail $(DESTDIR)$(PREFIX)/bin/mailq
	ln -sfn sendmail $(DESTDIR)$(PREFIX)/bin/newaliases
	ln -sfn sendmail $(DESTDIR)$(PREFIX)/bin/rmail
	ln -sfn ../sbin/sendmail $(DESTDIR)$(PREFIX)/lib/sendmail
	install -d $(MAN)/man1 $(MAN)/man5 $(MAN)/man8
	install -m 644 docs/man/*.1 $(MAN)/man1
	install -m 644 docs/man/*.5 $(MAN)/man5
	install -m 644 docs/man/*.8 $(MAN)/man8
	umask 022 && $(PYTHON) -B docs/man/main_cf.py > $(MAN)/man5/main.cf.5
	test -z "$(POSTFIX_VERBS)" || for verb in $(VERBS); do \
		rm -f $(MAN)/man8/$$verb.8; (umask 022 && echo .so man8/postfix-verbs.8 >$(MAN)/man8/$$verb.8) || exit 1; done
	install -d $(UNITS) $(BASH_COMPLETION) $(ZSH_COMPLETION)
	umask 022 && sed 's,@bindir@,$(PREFIX)/bin,' packaging/systemd/sendmail-py.service.in > $(UNITS)/sendmail-py.service
	install -m 644 packaging/systemd/sendmail-py.socket $(UNITS)
	install -m 644 packaging/completion/mailctl.bash $(BASH_COMPLETION)/mailctl
	install -m 644 packaging/completion/_mailctl $(ZSH_COMPLETION)
