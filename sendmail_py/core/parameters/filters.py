"""The filters that look at mail on its way in (milters)."""

from .param import Param

_F = "filters (milters)"

PARAMS = (
    Param("dkim_domains", "list", "", _F,
          "Tables with the domains whose mail is signed (DKIM) when it leaves for other hosts. The value is one selector or several, each for a signature, or selector:/path of a key that net_owner can read; `mailctl dkim keygen` makes keys, and prints what DNS and main.cf need."),
    Param("smtpd_milters", "list", "", _F,
          "The filters of mail that comes by SMTP, in order: inet:host:port or unix:/path, or { inet:host:port, name=value ... } with connect_timeout, command_timeout, content_timeout, default_action or protocol of its own."),
    Param("smtpd_milter_maps", "list", "", _F, "Tables with such a list by the client's address, in place of smtpd_milters; DISABLE: none."),
    Param("non_smtpd_milters", "list", "", _F, "The filters of mail that comes from sendmail(1)."),
    Param("receive_override_options", "list", "", _F,
          "no_milters: no filters; for the submission ports alone where submission_options has it. There are no other options here."),
    Param("milter_default_action", "tempfail|accept|reject|quarantine|shutdown", "tempfail", _F,
          "What happens where a filter is gone, hangs or fails: the client is told to come again, the mail goes on without the filter, is refused, or is held; shutdown: 421, and the connection ends. Mail of sendmail(1) waits with tempfail and shutdown, and bounces with reject."),
    Param("milter_protocol", "6|4|3|2", "6", _F, "The version of the protocol that is offered to filters."),
    Param("milter_connect_timeout", "time", "30s", _F, "How long connecting to a filter may take."),
    Param("milter_command_timeout", "time", "30s", _F, "How long a filter may take for an answer to an SMTP command."),
    Param("milter_content_timeout", "time", "300s", _F, "How long a filter may take for each step while it has the message; each report of progress begins the time anew, up to four times as much in all."),
    Param("milter_connect_macros", "list", "j {daemon_name} {daemon_addr} v _", _F, "The macros that filters are told when a client connects."),
    Param("milter_helo_macros", "list", "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}", _F, "The macros at HELO and EHLO."),
    Param("milter_mail_macros", "list", "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}", _F, "The macros at MAIL."),
    Param("milter_rcpt_macros", "list", "i {rcpt_addr} {rcpt_host} {rcpt_mailer}", _F, "The macros at RCPT."),
    Param("milter_data_macros", "list", "i", _F, "The macros at DATA."),
    Param("milter_end_of_header_macros", "list", "i", _F, "The macros at the end of the header."),
    Param("milter_end_of_data_macros", "list", "i", _F, "The macros at the end of the message."),
    Param("milter_macro_daemon_name", "str", "$myhostname", _F, "The macro {daemon_name}."),
    Param("milter_macro_v", "str", "", _F, "The macro v; empty: sendmail-py and its version."),
    Param("milter_macro_defaults", "list", "", _F, "name=value for macros that would have no value otherwise."),
)
