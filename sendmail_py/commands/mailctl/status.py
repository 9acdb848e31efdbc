"""mailctl status: decides, before anything costly is imported, which interpreter tells it.

Certificates of main.cf have dates that a library reads, which the fast interpreter does not see.
"""

import os
import sys

from ...host.configuration import load
from ...services.smtpd_certificates import tls_files
from ..interpreter import run_slow

_ROOT = os.path.abspath(f"{os.path.dirname(__file__)}/../../..")


def main(arguments: list[str], directory: str) -> int:
    """Run the verb."""
    asks_help = not {"-h", "--help"}.isdisjoint(arguments)
    if sys.flags.no_site and not asks_help and tls_files(load(directory)[0]):
        run_slow(_ROOT, "mailctl", ["-c", directory, "status", *arguments])
    from . import status_report

    return status_report.main(arguments, directory)
