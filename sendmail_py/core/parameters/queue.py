"""When messages are tried, how many at one time, and who is told what became of them."""

from ..essentials import DEFAULTS
from .param import Param

_Q = "queue"

_OF_TRANSPORTS = (
    ("destination_recipient_limit", "int", "recipients of one message in one transaction."),
    ("destination_concurrency_limit", "int", "connections to one destination at one time."),
    ("initial_destination_concurrency", "int", "connections that a destination begins with."),
    ("destination_rate_delay", "time", "the pause between two messages to one destination."),
    ("destination_concurrency_positive_feedback", "str", "what a delivery adds."),
    ("destination_concurrency_negative_feedback", "str", "what a failure takes away."),
    ("destination_concurrency_failed_cohort_limit", "int", "how many sets of failures make a destination dead."),
)

PARAMS = (
    Param("minimal_backoff_time", "time", "300s", _Q, "The shortest pause before a deferred message is tried again."),
    Param("maximal_backoff_time", "time", "4000s", _Q, "The longest pause before a deferred message is tried again."),
    Param("queue_run_delay", "time", "300s", _Q, "How often the deferred queue is searched for due mail."),
    Param("maximal_queue_lifetime", "time", "5d", _Q, "After this age a deferred message bounces, once an attempt has been made."),
    Param("bounce_queue_lifetime", "time", "5d", _Q, "The same for messages with the null sender."),
    Param("qmgr_message_active_limit", "int", "20000", _Q, "Messages in the active queue at one time."),
    Param("qmgr_message_recipient_limit", "int", "20000", _Q, "Recipients in memory at one time: a message that would bring more than fit waits for others to leave, unless it is the only large one."),
    Param("qmgr_message_recipient_minimum", "int", "10", _Q, "A message with no more recipients than this never waits for that."),
    Param("in_flow_delay", "time", "1s", _Q, "While far more mail has come than the active queue takes, each further message waits this long; 0: none does."),
    Param("default_destination_recipient_limit", "int", "50", _Q, "Recipients of one message in one SMTP transaction; 0 is no limit of ours."),
    Param("default_destination_concurrency_limit", "int", "20", _Q, "Connections to one destination at one time; 0 is no limit."),
    Param("initial_destination_concurrency", "int", "5", _Q, "Connections that a destination begins with (docs/scheduling.md)."),
    Param("default_destination_rate_delay", "time", "0s", _Q, "A pause between two messages to one destination, which then has one connection."),
    Param("default_destination_concurrency_positive_feedback", "str", "1", _Q, "How much each delivery adds to the connections of a destination: 0 to 1, or N/concurrency, N/sqrt_concurrency."),
    Param("default_destination_concurrency_negative_feedback", "str", "1", _Q, "How much each failure of the host takes away, in the same form."),
    Param("default_destination_concurrency_failed_cohort_limit", "int", "1", _Q, "After so many whole sets of connections that failed one after the other a destination is dead, and is left alone for minimal_backoff_time; 0: never."),
    Param("destination_limits", "list", "", _Q, "Limits of providers: domains, then concurrency=N and rate=N/min (s, min, hour, day), as often as needed. They hold for destinations that lie in these domains or have their mail exchangers there (docs/scheduling.md)."),
    *(Param(f"{transport}_{name}", type, f"${'' if name.startswith('initial') else 'default_'}{name}", _Q, f"The same for the transport {transport}: {doc}")
      for transport in ("smtp", "lmtp") for name, type, doc in _OF_TRANSPORTS),
    Param("daemonless", "bool", DEFAULTS["daemonless"], _Q, "Without services: a submission of root (in an instance of one user: of that user) starts a queue manager that delivers what is due and leaves; sendmail -q, from cron or a timer, does the retries (docs/daemonless.md)."),
    Param("soft_bounce", "bool", "no", _Q, "For a trial: what would bounce waits, and is logged as SOFTBOUNCE; mail that is too old bounces all the same."),
    Param("defer_transports", "list", "", _Q, "Transports (local, virtual, lmtp, smtp and its other name relay) whose mail waits until `mailctl queue flush`."),
    Param("bounce_size_limit", "int", "50000", _Q, "A bounce returns the whole message up to this many octets, otherwise the header."),
    Param("bounce_template_file", "str", "", _Q,
          "A file with other texts for bounces, delay warnings and reports, as Postfix's bounce.cf (docs/bounces.md). Read at start and at each reload."),
    Param("delay_warning_time", "time", "0h", _Q, "After this age a message that still waits is told to its sender, once; 0 is never."),
    Param("confirm_delay_cleared", "bool", "no", _Q, "Tell who was warned of a delay when the message has been delivered after all."),
    Param("enable_threaded_bounces", "bool", "no", _Q, "Let reports refer to the message (References, In-Reply-To), so that mail programs show them beside it."),
    Param("report_rate_limit", "int", "500", _Q,
          "Bounces, warnings and reports that one address gets in an hour; 0 is no limit. What is beyond that is logged, and told to bounce_notice_recipient in one digest an hour."),
    Param("notify_classes", "list", "software", _Q,
          "What the postmaster hears of. software: messages that cannot be read any more; copies of bounces and delay warnings: bounce, delay; 2bounce: bounces that cannot be delivered (bounce implies it); SMTP sessions, with what was said: policy, bounce: what was refused by rules, for unknown users; protocol: errors of one side; resource: no room; data: tables that could not be asked."),
    Param("session_notice_rate_limit", "int", "20", _Q,
          "Notices of SMTP sessions that the postmaster gets in an hour for each of notify_classes, so that no stranger makes a storm of them; 0 is no limit."),
    Param("bounce_notice_recipient", "str", "postmaster", _Q, "Who gets the copies of bounces, with the header of the message, and the digests of report_rate_limit."),
    Param("2bounce_notice_recipient", "str", "postmaster", _Q, "Who gets the bounces that cannot be delivered."),
    Param("delay_notice_recipient", "str", "postmaster", _Q, "Who gets the copies of delay warnings."),
    Param("error_notice_recipient", "str", "postmaster", _Q, "Who hears of what is wrong with the mail system itself, and of SMTP sessions (notify_classes = software, policy, protocol, resource, data)."),
    Param("double_bounce_sender", "str", "double-bounce", _Q, "The sender of what goes to the postmaster; mail to this address of this host is discarded."),
    Param("expansion_recipient_limit", "int", "1000", _Q, "Recipients of one child message of an alias or list."),
)
