"""THE table of parameters: each name once, with type, default and documentation.

From it come Config, `mailctl config`, validation and main.cf(5). Names are Postfix's where the
meaning is the same. Light: imported by sendmail(1); keep it plain data.

Types: str, raw (macros stay for whoever uses it), int, bool (yes|no), time (seconds; suffix s m h d w), list (comma or white space),
and an enumeration written "a|b|c".
"""

from .essentials import CONFIG_DIRECTORY, DEFAULTS


class Param:
    """One parameter: its name, type, default as it would stand in main.cf, section and manual text."""

    __slots__ = ("default", "doc", "name", "section", "type")

    def __init__(self, name: str, type: str, default: str, section: str, doc: str) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.section = section
        self.doc = doc


_I = "instance"
_H = "host"
_S = "submission"
_Q = "queue"
_L = "local delivery"
_R = "relay"
_M = "SMTP server"
_LOG = "log"
_SAFE = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

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
    Param("myorigin", "str", "", _H, "The domain added to bare addresses. Default: the first line of /etc/mailname, else $myhostname."),
    Param("mydestination", "list", "$myhostname, localhost.$mydomain, localhost", _H, "The domains whose mail is delivered on this host."),
    Param("inet_protocols", "all|ipv4|ipv6|ipv4, ipv6", "all", _H, "The network protocols to use."),
    Param("message_size_limit", "int", DEFAULTS["message_size_limit"], _S, "The largest message in octets; 0 is no limit."),
    Param("queue_minfree", "int", DEFAULTS["queue_minfree"], _S, "Free space in octets that must remain to accept mail; at least 1.5 times message_size_limit is asked for."),
    Param("hopcount_limit", "int", "100", _S, "A message with more Received fields than this is in a loop and bounces (RFC 5321 6.3)."),
    Param("header_size_limit", "int", "102400", _S, "Octets of one header field that are examined for addresses; longer ones pass unexamined."),
    Param("local_submission_rate_limit", "str", DEFAULTS["local_submission_rate_limit"], _S, "How much one user may submit in an hour: messages/recipients, such as 100/500, or messages alone; 0 is no limit of that kind, and nothing is no limit at all. Root is not counted. Who has reached it gets exit 75 from sendmail until his hour is over, and files already in maildrop/ wait."),
    Param("authorized_submit_users", "list", DEFAULTS["authorized_submit_users"], _S, "Who may submit mail: user names, /file/name with more of them, static:anyone; ! before one excludes, and the first that matches decides. A user without a name is unknown. Others get exit 69, and files they put into maildrop/ are left there."),
    Param("authorized_mailq_users", "list", "static:anyone", _S, "Who may list the queue, in the same form; root and mail_owner always may."),
    Param("authorized_flush_users", "list", "static:anyone", _S, "Who may ask for an attempt at deferred mail, in the same form; root and mail_owner always may."),
    Param("maildrop_scan_delay", "time", "60s", _S, "How often pickup looks into maildrop/ for files whose trigger was lost."),
    Param("minimal_backoff_time", "time", "300s", _Q, "The shortest pause before a deferred message is tried again."),
    Param("maximal_backoff_time", "time", "4000s", _Q, "The longest pause before a deferred message is tried again."),
    Param("queue_run_delay", "time", "300s", _Q, "How often the deferred queue is searched for due mail."),
    Param("maximal_queue_lifetime", "time", "5d", _Q, "After this age a deferred message bounces, once an attempt has been made."),
    Param("bounce_queue_lifetime", "time", "5d", _Q, "The same for messages with the null sender."),
    Param("qmgr_message_active_limit", "int", "20000", _Q, "Messages in the active queue at one time."),
    Param("default_destination_recipient_limit", "int", "50", _Q, "Recipients of one message in one SMTP transaction; 0 is no limit of ours."),
    Param("default_destination_concurrency_limit", "int", "20", _Q, "Connections to one destination at one time; 0 is no limit."),
    Param("defer_transports", "list", "", _Q, "Transports (local, smtp, lmtp) whose mail waits until `mailctl queue flush`."),
    Param("bounce_size_limit", "int", "50000", _Q, "A bounce returns the whole message up to this many octets, otherwise the header."),
    Param("expansion_recipient_limit", "int", "1000", _Q, "Recipients of one child message of an alias or list."),
    Param("alias_maps", "list", "hash:/etc/aliases", _L,
          "Where aliases stand: text files (a type such as hash: or lmdb: means their text), regexp:, pcre: and sqlite: tables. All must be readable, or local mail waits."),
    Param("local_recipient_maps", "list", "proxy:unix:passwd.byname $alias_maps", _L,
          "Who is known on this host, for servers that refuse mail for others: unix:passwd.byname (users), sources of alias_maps, hash:/file (a name or an address in each line). Empty: everybody, as with luser_relay or fallback_transport."),
    Param("alias_database", "list", "$alias_maps", _L, "More files for newaliases to check; mail uses alias_maps alone."),
    Param("allow_mail_to_commands", "list", "alias, forward", _L, "Where |program may stand: alias, forward, include."),
    Param("allow_mail_to_files", "list", "alias, forward", _L, "Where /file may stand: alias, forward, include."),
    Param("default_privs", "str", "nobody", _L,
          "The user whose rights programs and files of aliases have, where the alias file is root's."),
    Param("expand_owner_alias", "bool", "no", _L, "Make the envelope sender of a list what its owner- alias stands for, if that is one address."),
    Param("recipient_delimiter", "str", "+", _L, "The characters that may part a user from an extension, as in user+extension; empty: no extensions."),
    Param("propagate_unmatched_extensions", "list", "", _L,
          "Where an address gets the extension that its alias was found without: alias, include."),
    Param("mailbox_transport", "str", "", _L, "lmtp:unix:/path, lmtp:inet:host:port or smtp:nexthop takes the mail of all mailboxes, after aliases and .forward; also that of users who are not known here."),
    Param("fallback_transport", "str", "", _L, "The same for users who are not known here alone."),
    Param("luser_relay", "raw", "", _L,
          "The address that gets the mail of unknown users. Macros: user, local, extension, domain, recipient, recipient_delimiter."),
    Param("mail_spool_directory", "str", "/var/spool/mail", _L, "The directory of the mailboxes, one mbox file a user."),
    Param("home_mailbox", "str", "", _L, "A mailbox below the user's home instead; a trailing slash makes it a Maildir."),
    Param("maildir_extension_folders", "bool", "no", _L,
          "Mail for user+Folder goes to the folder .Folder of the user's Maildir, where there is one; user+Folder.Sub to one within it."),
    Param("mailbox_delivery_lock", "list", "fcntl, dotlock", _L, "How a mailbox is locked: fcntl, dotlock."),
    Param("deliver_lock_attempts", "int", "20", _L, "Attempts to lock a mailbox before the delivery is deferred."),
    Param("deliver_lock_delay", "time", "1s", _L, "The longest pause between two of these attempts."),
    Param("stale_lock_time", "time", "500s", _L, "A dot-lock older than this whose process is gone is removed."),
    Param("mailbox_size_limit", "int", "51200000", _L, "The largest mbox file in octets; 0 is no limit."),
    Param("forward_path", "raw", "$home/.forward${recipient_delimiter}${extension}, $home/.forward", _L,
          "Where a user's .forward may be; the first that there is counts. Macros: home, user, shell, recipient, domain, local, extension, recipient_delimiter; an entry with an undefined one is passed over."),
    Param("forward_expansion_filter", "raw", _SAFE, _L, "What may stand in a value of these macros; other characters become _."),
    Param("mailbox_command", "raw", "", _L,
          "A program that takes a user's mail instead of the mailbox; it runs as the user, with the environment of local-delivery.md. Not for root."),
    Param("require_home_directory", "bool", "no", _L, "Defer mail for a user whose home directory is not there."),
    Param("command_time_limit", "time", "1000s", _L, "A program that runs longer is killed with all it started, and the mail bounces; 0 is no limit."),
    Param("command_expansion_filter", "raw", _SAFE, _L, "What may stand in the environment of a program; other characters become _."),
    Param("export_environment", "list", "TZ MAIL_CONFIG LANG", _L, "What programs see of our environment: NAME or NAME=value."),
    Param("relayhost", "str", "", _R, "The next hop for all mail that is not local: domain, host:port or [host]:port; brackets turn MX look-up off."),
    Param("smtp_tcp_port", "int", "25", _R, "The port to connect to."),
    Param("smtp_helo_name", "str", "$myhostname", _R, "The name sent in EHLO."),
    Param("smtp_address_preference", "any|ipv4|ipv6", "any", _R, "Which addresses to try first among those of equal preference."),
    Param("smtp_permit_loopback_mx", "bool", "no", _R, "Accept an MX whose address is loopback, unspecified or multicast."),
    Param("resolver_nameservers", "list", "", _R, "Name servers as host:port; default: those of /etc/resolv.conf."),
    Param("resolver_timeout", "time", "20s", _R, "The longest a DNS question may take."),
    Param("smtp_process_limit", "int", "2", _R, "SMTP client processes."),
    Param("smtp_mx_address_limit", "int", "5", _R, "Addresses of one destination to try; 0 is no limit."),
    Param("smtp_mx_session_limit", "int", "2", _R, "Sessions of one delivery that may fail after a connection was made; 0 is no limit."),
    Param("smtp_connect_timeout", "time", "30s", _R, "Time-out of connect()."),
    Param("smtp_helo_timeout", "time", "300s", _R, "Time-out of the greeting and of EHLO."),
    Param("smtp_mail_timeout", "time", "300s", _R, "Time-out of MAIL FROM."),
    Param("smtp_rcpt_timeout", "time", "300s", _R, "Time-out of RCPT TO."),
    Param("smtp_data_init_timeout", "time", "120s", _R, "Time-out of DATA."),
    Param("smtp_data_xfer_timeout", "time", "180s", _R, "Time-out of sending a block of content."),
    Param("smtp_data_done_timeout", "time", "600s", _R, "Time-out of the reply to the final dot."),
    Param("smtp_quit_timeout", "time", "10s", _R, "Time-out of QUIT."),
    Param("smtp_tls_security_level", "str", "may", _R,
          "TLS with other servers: none; may: where it is offered, whatever the certificate; encrypt: always, else the mail waits; verify: with a trusted certificate for the server's name; secure: for the name of the destination (docs/smarthost.md)."),
    Param("smtp_tls_policy_maps", "list", "", _R,
          "Another level for some destinations: tables with the nexthop, or .parent of a domain, and the level, also with match=name:name and protocols=versions."),
    Param("smtp_tls_wrappermode", "bool", "no", _R,
          "TLS from the first octet instead of STARTTLS, at least encrypt. Port 465 always is like that."),
    Param("smtp_tls_CAfile", "str", "", _R, "The certificates of the authorities to trust; with smtp_tls_CApath empty too: the system's."),
    Param("smtp_tls_CApath", "str", "", _R, "The same as a directory with hashed names."),
    Param("smtp_tls_protocols", "str", ">=TLSv1.2", _R, "The versions of TLS at the level may: >=TLSv1.2, !TLSv1.3 and the like."),
    Param("smtp_tls_mandatory_protocols", "str", ">=TLSv1.2", _R, "The same at the levels above may."),
    Param("smtp_tls_verify_cert_match", "list", "hostname", _R,
          "Whom a certificate must name at the level verify: hostname, nexthop, dot-nexthop (any host below it), or a name."),
    Param("smtp_tls_secure_cert_match", "list", "nexthop, dot-nexthop", _R, "The same at the level secure."),
    Param("smtp_tls_loglevel", "int", "0", _R, "1 logs the version and cipher of each connection with TLS."),
    Param("smtp_starttls_timeout", "time", "300s", _R, "Time-out of STARTTLS and of the handshake."),
    Param("smtp_sasl_auth_enable", "bool", "no", _R, "Log in to servers that smtp_sasl_password_maps has a login for."),
    Param("smtp_sasl_password_maps", "list", "", _R,
          "Text files with lines of a server and user:password (texthash:/path; hash: and its like mean the text too). The server stands as in relayhost, with brackets and port, or by its name. The file is read by net_owner, to whom it should belong, with mode 0600."),
    Param("smtp_sender_dependent_authentication", "bool", "no", _R,
          "Look the sender up in smtp_sasl_password_maps first, then @domain. Connections are not used again then."),
    Param("smtp_sasl_security_options", "list", "noplaintext, noanonymous", _R,
          "What a login without TLS must not be: noplaintext forbids PLAIN and LOGIN, which are all that is known here."),
    Param("smtp_sasl_tls_security_options", "list", "noanonymous", _R, "The same under TLS."),
    Param("smtp_line_length_limit", "int", "998", _R, "Longer lines are folded when they are sent; 0 is no limit."),
    Param("smtp_connection_cache_time_limit", "time", "2s", _R, "How long an idle connection is kept for the next message."),
    Param("smtp_connection_reuse_count_limit", "int", "100", _R, "Messages over one connection; 0 is no limit."),
    Param("smtpd_port", "list", "25", _M, "The ports of the SMTP server; empty: there is none. A port that is taken is named at start, and the rest runs."),
    Param("inet_interfaces", "list", "loopback-only", _M, "Where the SMTP server listens: loopback-only, all, or addresses and names of this host."),
    Param("mynetworks", "list", "127.0.0.0/8, [::1]/128", _M,
          "The clients that may send anywhere: networks; ! before one excludes, and the first that matches decides. Only this host's loopback unless more is named: behind a container's or a gateway's address translation every client has the address of a neighbour."),
    Param("smtpd_relay_restrictions", "list", "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination", _M, "Who may send where, checked at each RCPT before smtpd_recipient_restrictions. The words are those of Postfix; see smtp-server.md."),
    Param("smtpd_client_restrictions", "list", "", _M, "Checks of the client, by address and name."),
    Param("smtpd_helo_restrictions", "list", "", _M, "Checks of the name that the client gives itself."),
    Param("smtpd_sender_restrictions", "list", "", _M, "Checks of the reverse-path."),
    Param("smtpd_recipient_restrictions", "list", "", _M, "Checks of each forward-path."),
    Param("smtpd_data_restrictions", "list", "", _M, "Checks at DATA."),
    Param("smtpd_end_of_data_restrictions", "list", "", _M, "Checks when the content has come."),
    Param("smtpd_delay_reject", "bool", "yes", _M, "Put checks of client, HELO and sender off until RCPT, so that the log names the recipient."),
    Param("smtpd_relay_before_recipient_restrictions", "bool", "yes", _M, "Whether smtpd_relay_restrictions come before smtpd_recipient_restrictions."),
    Param("smtpd_reject_unlisted_recipient", "bool", "yes", _M, "Refuse users that there are not at RCPT (550 5.1.1)."),
    Param("smtpd_reject_unlisted_sender", "bool", "no", _M, "The same for senders in domains of this host."),
    Param("smtpd_helo_required", "bool", "no", _M, "Refuse MAIL before HELO or EHLO."),
    Param("smtpd_banner", "str", "$myhostname ESMTP sendmail-py", _M, "The text of the greeting; it begins with the name of this host."),
    Param("smtpd_peername_lookup", "bool", "yes", _M, "Look the names of clients up; those of loopback never."),
    Param("smtpd_forbid_bare_newline", "normalize|yes|no|note|reject", "normalize", _M,
          "What becomes of lines that end in LF alone. normalize (yes): they are lines, but only CRLF.CRLF ends the content. no: the same. note: they are logged too. reject: the message is refused. In no case is a second message seen in a first one."),
    Param("smtpd_forbid_bare_newline_exclusions", "list", "$mynetworks", _M, "Clients that may end all their lines in LF alone, the final dot's among them, unless smtpd_forbid_bare_newline = reject."),
    Param("local_header_rewrite_clients", "list", "$mynetworks", _M, "Clients whose messages get the header fields that are missing (Date, From, Message-Id) and a domain for bare addresses."),
    Param("always_add_missing_headers", "bool", "no", _M, "Add missing header fields for all clients."),
    Param("smtpd_connection_limit", "int", "2000", _M, "Connections at one time."),
    Param("smtpd_client_connection_count_limit", "int", "50", _M, "Connections of one client at one time (an address, or an IPv6 /64); 0 is no limit."),
    Param("smtpd_client_connection_rate_limit", "int", "0", _M, "Connections of one client in a minute; 0 is no limit."),
    Param("smtpd_client_message_rate_limit", "int", "0", _M, "Messages of one client in a minute; 0 is no limit."),
    Param("smtpd_client_recipient_rate_limit", "int", "0", _M, "Recipients of one client in a minute; 0 is no limit."),
    Param("smtpd_client_event_limit_exceptions", "list", "$mynetworks", _M, "Clients without these limits."),
    Param("smtpd_recipient_limit", "int", "1000", _M, "Recipients of one message."),
    Param("smtpd_recipient_overshoot_limit", "int", "1000", _M, "Recipients beyond the limit that are refused without being counted as errors."),
    Param("smtpd_soft_error_limit", "int", "10", _M, "After so many errors without a message taken each further answer waits smtpd_error_sleep_time."),
    Param("smtpd_hard_error_limit", "int", "20", _M, "After so many errors the client is disconnected."),
    Param("smtpd_junk_command_limit", "int", "100", _M, "NOOP, VRFY, RSET and HELO without a message beyond this number count as errors."),
    Param("smtpd_error_sleep_time", "time", "1s", _M, "How long an answer waits after too many errors."),
    Param("smtpd_timeout", "time", "300s", _M, "How long the client may take for a command, as a whole; 10s where nine tenths of smtpd_connection_limit are in use."),
    Param("smtpd_min_data_rate", "int", "500", _M, "The octets a second that content must come with on the average, smtpd_timeout aside; 0 is no limit."),
    Param("syslog_name", "str", "sendmail-py", _LOG, "The name before the slash in log lines."),
    Param("syslog_facility", "str", "mail", _LOG, "The syslog facility."),
    Param("maillog_file", "str", "", _LOG, "Write the log to this file, or to /dev/stdout, instead of syslog."),
)

BY_NAME = {param.name: param for param in PARAMS}
