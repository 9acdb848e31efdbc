"""What sendmail(1) has to know of the configuration before it queues: these defaults, and no more.

They stand apart from the table of parameters, which takes them from here, so that a plain
submission need not load the table. Light: imported by sendmail(1).
"""

CONFIG_DIRECTORY = "/etc/sendmail-py"
DEFAULTS = {
    "queue_directory": "/var/spool/sendmail-py",
    "message_size_limit": "10240000",
    "queue_minfree": "0",
    "local_submission_rate_limit": "",
    "authorized_submit_users": "static:anyone",
    "daemonless": "no",
}
