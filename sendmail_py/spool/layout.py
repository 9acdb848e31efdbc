"""The directories of the queue: their names and modes. directories.py creates and checks them.

The top is root's; the queues are 0700 of the service's user; maildrop/ is 3733: everybody may
create a file there, nobody may list it, and only the owner of a file and the service may
remove it. Light: imported by sendmail(1).
"""

MAILDROP = "maildrop"
INCOMING = "incoming"
ACTIVE = "active"
DEFERRED = "deferred"
HOLD = "hold"
CORRUPT = "corrupt"
TMP = "tmp"
LOCK = "lock"
TRIGGER = "trigger"
BLOCKED = ".blocked"  # in maildrop/: users over local_submission_rate_limit, as pickup publishes them

PRIVATE = (INCOMING, ACTIVE, DEFERRED, HOLD, CORRUPT, TMP, LOCK)
MAILDROP_MODE = 0o3733
COMPLETE_MODE = 0o640
UNFINISHED_MODE = 0o600
# Of a file in the queues: its name is not durable yet, and whoever writes it may still take it back.
UNSETTLED_MODE = 0o400
