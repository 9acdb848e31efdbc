"""The command line of a mailctl verb: argparse, whose errors end as all usage errors do, with EX_USAGE."""

import argparse
from typing import NoReturn

from ...core.errors import UsageError


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError and takes no option by its first letters only."""

    def __init__(self, verb: str, description: str, add_help: bool = True) -> None:
        super().__init__(f"mailctl {verb}", description=description, add_help=add_help, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line, and where that is explained."""
        raise UsageError(f"{message}; `{self.prog} --help` explains it")
