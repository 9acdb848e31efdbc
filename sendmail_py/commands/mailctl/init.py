"""mailctl -c DIR init: an instance that lives wholly in DIR and runs as who made it.

For tests, demonstrations and trying things out. DIR is mode 0700; nothing outside it is used.
"""

import os

from ...core.errors import MailError, UsageError
from ...core.essentials import CONFIG_DIRECTORY
from ...core.exitcodes import EX_CANTCREAT, EX_OK
from ...spool import directories

_MAIN_CF = """\
# An instance of sendmail-py that lives in this directory.
queue_directory = $config_directory/queue
run_directory = $config_directory/run
data_directory = $config_directory/data
mail_spool_directory = $config_directory/mail
maillog_file = $config_directory/maillog
alias_maps = hash:$config_directory/aliases

# Bare addresses are this machine's users, also where /etc/mailname names a domain.
mydestination = $myhostname, $myorigin, localhost.$mydomain, localhost

# No .forward counts: homes lie outside this directory. Without this line that of the user who runs it would.
forward_path =

# A port such as 2525 opens the SMTP server of this instance, on loopback.
smtpd_port =

# An instance is for trying things out: mail may go to servers on this machine.
smtp_permit_loopback_mx = yes
"""


_ROOTS = """
# Made by root: everything runs as root, and no mail is written outside this directory.
mail_owner = root
net_owner = root
"""


class InitError(MailError):
    """The instance cannot be made there."""

    exit_code = EX_CANTCREAT


def main(arguments: list[str], directory: str) -> int:
    """Run `mailctl -c DIR init`; an existing main.cf is kept."""
    if arguments:
        raise UsageError("init takes no arguments")
    if directory == CONFIG_DIRECTORY:
        raise UsageError("init needs a directory: mailctl -c DIR init (for the system's instance: mailctl setup)")
    try:
        create(directory)
    except OSError as error:
        raise InitError(f"{error.filename or directory}: {error.strerror}") from error
    print(f"instance in {directory}; start it with: mailctl -c {directory} start")
    return EX_OK


def create(directory: str) -> None:
    """Create what the instance needs; raises OSError, SpoolError."""
    uid, gid = os.getuid(), os.getgid()
    os.makedirs(directory, 0o700, exist_ok=True)
    os.chmod(directory, 0o700)
    for name in ("run", "data", "mail", "queue"):
        os.makedirs(f"{directory}/{name}", 0o700, exist_ok=True)
    directories.create(f"{directory}/queue", uid, gid)
    for name, text in (("main.cf", _MAIN_CF + ("" if uid else _ROOTS)), ("aliases", "# name: address, ...\n")):
        try:
            with open(f"{directory}/{name}", "x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue
