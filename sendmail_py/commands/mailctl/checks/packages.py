"""The distribution's package manager, as the repair of a finding names it."""

from pathlib import Path

_ROOT = Path("/")


def installing(package: str) -> str:
    """Return the command that installs a package."""
    return f"{'apt-get' if _has(_ROOT, 'dpkg') else 'dnf'} install {package}"


def removing_owner(path: str, root: Path = _ROOT) -> str:
    """Return the command that removes the package which a file is of; "" where no manager is known."""
    if _has(root, "dpkg"):
        return f"apt-get remove $(dpkg -S {path} | cut -d: -f1)"
    return f"dnf remove $(rpm -qf {path})" if _has(root, "rpm") else ""


def _has(root: Path, program: str) -> bool:
    return (root / "usr/bin" / program).exists()
