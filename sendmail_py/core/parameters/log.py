"""Where the log and the metrics go."""

from .param import Param

_LOG = "log"

PARAMS = (
    Param("syslog_name", "str", "sendmail-py", _LOG, "The name before the slash in log lines."),
    Param("syslog_facility", "str", "mail", _LOG, "The syslog facility."),
    Param("metrics_listen", "str", "", _LOG, "Where metrics are read over HTTP, as Prometheus does: 127.0.0.1:9154, or unix:/path. Empty: nowhere. Whoever can connect there can read them."),
    Param("log_format", "postfix|json", "postfix", _LOG, "The shape of log lines: Postfix's, or a JSON object for each, with one event for each delivery attempt."),
    Param("maillog_file", "str", "", _LOG, "Write the log to this file, or to /dev/stdout, instead of syslog."),
)
