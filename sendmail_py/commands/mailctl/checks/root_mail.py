"""Alias files that can be used, and where root's mail goes: warnings are of use to who reads them."""

import pwd
from collections.abc import Iterator

from ....core.config import Config
from ....host.alias_files import source_of
from ....host.alias_sources import Source
from ....services.children import is_one_user
from .finding import Finding, error, warning


def check(config: Config) -> Iterator[Finding]:
    """Yield faults of alias files, and what becomes of root's mail that nobody may read."""
    sources = []
    for text in config.alias_maps:
        source = source_of(text)
        try:
            source.refresh(lambda _: None)
        except (OSError, ValueError) as fault:
            why = getattr(fault, "strerror", "") or fault
            yield error(f"alias_maps: {text}: {why}; all local mail waits", f"ls -l {source.path}")
            continue
        for line in source.summary()[3]:
            repair = f"edit {source.path}; newaliases -C {config.config_directory}"
            yield error(f"{source.path}, line {line.line}: {line.text}", repair)
        sources.append(source)
    yield from _roots(config, sources)


def _roots(config: Config, sources: list[Source]) -> Iterator[Finding]:
    repair = f"mailctl -c {config.config_directory} setup --root-alias you@example.org"
    if is_one_user(config) and sources:
        repair = f"echo 'root: you@example.org' >> {sources[0].path}"
    targets = _targets("root", sources)
    if targets is None:
        yield warning("mail to root stays on this host: no alias sends it to somebody who reads it", repair)
        return
    for target in targets:
        if (
            target.isidentifier()
            and target != "root"
            and _targets(target.lower(), sources) is None
            and not _user(target)
        ):
            yield error(f"root's mail goes to {target}, who is no user of this host: it bounces", repair)


def _targets(name: str, sources: list[Source]) -> list[str] | None:
    """Return what a name stands for, None where it is no alias; a line with a fault has been told."""
    for source in sources:
        try:
            alias = source.look_up(name)
        except (OSError, ValueError):
            return []
        if alias is not None:
            return [str(target) for target in alias.targets]
    return None


def _user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
