"""Where an instance keeps its things, and what its host is called."""

from ..essentials import CONFIG_DIRECTORY, DEFAULTS
from .param import Param

_I = "instance"
_H = "host"

PARAMS = (
    Param("config_directory", "str", CONFIG_DIRECTORY, _I,
          "Where main.cf was read. Set by -c, -C or MAIL_CONFIG, never in main.cf; other values may refer to it."),
    Param("queue_directory", "str", DEFAULTS["queue_directory"], _I, "The queue. Changing it needs a restart."),
    Param("run_directory", "str", "/run/sendmail-py", _I, "The pid file and the sockets control, public and submit. Changing it needs a restart."),
    Param("data_directory", "str", "/var/lib/sendmail-py", _I, "State that is no mail. Changing it needs a restart."),
    Param("mail_owner", "str", "sendmail-py", _I, "The user that owns the queue and runs pickup and qmgr when master runs as root. Changing it needs a restart."),
    Param("net_owner", "str", "sendmail-py-net", _I, "The user that the SMTP client runs as when master runs as root; it owns no file of the queue."),
    Param("service_throttle_time", "time", "60s", _I, "The longest pause before a service that keeps dying is started again."),
    Param("max_idle", "time", "100s", _I, "An on-demand worker without work leaves after this time."),
    Param("stop_timeout", "time", "30s", _I, "How long a stop waits for deliveries in progress before it ends them; they stay queued."),
    Param("myhostname", "str", "", _H, "The name of this host. Default: uname's node name, with no look-up."),
    Param("mydomain", "str", "", _H, "The domain of this host. Default: $myhostname less its first label."),
    Param("myorigin", "str", "", _H, "The domain added to bare addresses, or a file whose first line has it. Default: the first line of /etc/mailname, else $myhostname."),
    Param("mydestination", "list", "$myhostname, localhost.$mydomain, localhost", _H, "The domains whose mail is delivered on this host."),
    Param("inet_protocols", "all|ipv4|ipv6|ipv4, ipv6", "all", _H, "The network protocols to use."),
)
