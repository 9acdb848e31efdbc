"""A real Postfix for tests, as make-postfix has unpacked it: where it lies, its queue, and its master.cf."""

import os
from pathlib import Path

POSTFIX = Path(os.environ.get("POSTFIX_DIRECTORY", "/var/tmp/sendmail-py-postfix")) / "root"
MASTER = POSTFIX / "usr/lib/postfix/sbin/master"
# Lines of a master.cf. SERVICES are what the others stand on; a listener, and LOCAL or SENDING, make a server of them.
SERVICES = """\
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
"""
LOCAL = "local unix - n n - - local\n"
SENDING = "smtp unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n"
MANY_AT_ONCE = "smtp unix - - n - 100 smtp\n"
# A shell makes an empty queue of the directory that it is in; the users are there.
MAKE_QUEUE = """
mkdir active bounce corrupt defer deferred flush hold incoming private public maildrop saved trace pid
chown postfix: active bounce corrupt defer deferred flush hold incoming private public maildrop saved trace
chmod 700 active bounce corrupt defer deferred flush hold incoming private saved trace
chgrp postdrop public maildrop
chmod 710 public
chmod 730 maildrop
"""
