"""What is taken, from whom, and how it is looked at and rewritten on the way in."""

from ..essentials import DEFAULTS
from .param import Param

_S = "submission"
_W = "address rewriting"

PARAMS = (
    Param("message_size_limit", "int", DEFAULTS["message_size_limit"], _S, "The largest message in octets; 0 is no limit."),
    Param("queue_minfree", "int", DEFAULTS["queue_minfree"], _S, "Free space in octets that must remain to accept mail; at least 1.5 times message_size_limit is asked for."),
    Param("hopcount_limit", "int", "100", _S, "A message with more Received fields than this is in a loop and bounces (RFC 5321 6.3)."),
    Param("header_size_limit", "int", "102400", _S, "Octets of one header field that are examined for addresses; longer ones pass unexamined."),
    Param("local_submission_rate_limit", "str", DEFAULTS["local_submission_rate_limit"], _S, "How much one user may submit in an hour: messages/recipients, such as 100/500, or messages alone; 0 is no limit of that kind, and nothing is no limit at all. Root is not counted. Who has reached it gets exit 75 from sendmail until his hour is over, and files already in maildrop/ wait."),
    Param("authorized_submit_users", "list", DEFAULTS["authorized_submit_users"], _S, "Who may submit mail: user names, /file/name with more of them, static:anyone; ! before one excludes, and the first that matches decides. A user without a name is unknown. Others get exit 69, and files they put into maildrop/ are left there."),
    Param("authorized_mailq_users", "list", "static:anyone", _S, "Who may list the queue, in the same form; root and mail_owner always may."),
    Param("authorized_flush_users", "list", "static:anyone", _S, "Who may ask for an attempt at deferred mail, in the same form; root and mail_owner always may."),
    Param("header_checks", "list", "", _S, "Tables (regexp or pcre) that each header field is held against: REJECT, DISCARD, HOLD, IGNORE, REPLACE, PREPEND, REDIRECT, BCC, WARN and the like (docs/content-checks.md)."),
    Param("mime_header_checks", "list", "$header_checks", _S, "The same for the fields about MIME (MIME-Version, Content-*), and for the header of each MIME part."),
    Param("nested_header_checks", "list", "$header_checks", _S, "The same for the headers of attached messages."),
    Param("mime_nesting_limit", "int", "100", _S, "How deep parts may stand within parts: where the tables look into a message, a deeper one is refused."),
    Param("mime_boundary_length_limit", "int", "2048", _S, "Octets of the text between MIME parts that are told apart."),
    Param("body_checks", "list", "", _S, "The same for the lines of the body and of each part."),
    Param("body_checks_size_limit", "int", "51200", _S, "Octets of a body, and of each part's, that body_checks see; 0 is all."),
    Param("maildrop_scan_delay", "time", "60s", _S, "How often pickup looks into maildrop/ for files whose trigger was lost."),
    Param("canonical_maps", "list", "", _W,
          "Tables that say which address stands for another one, in envelope and header, of senders and recipients (docs/rewriting.md)."),
    Param("canonical_classes", "list", "envelope_sender, envelope_recipient, header_sender, header_recipient", _W, "Where canonical_maps apply."),
    Param("sender_canonical_maps", "list", "", _W, "The same for senders alone, before canonical_maps."),
    Param("sender_canonical_classes", "list", "envelope_sender, header_sender", _W, "Where sender_canonical_maps apply."),
    Param("recipient_canonical_maps", "list", "", _W, "The same for recipients alone."),
    Param("recipient_canonical_classes", "list", "envelope_recipient, header_recipient", _W, "Where recipient_canonical_maps apply."),
    Param("masquerade_domains", "list", "", _W,
          "Domains whose subdomains are not to be seen: user@host.domain becomes user@domain. The first that fits counts; ! before one leaves it alone."),
    Param("masquerade_classes", "list", "envelope_sender, header_sender, header_recipient", _W, "Where masquerade_domains apply."),
    Param("masquerade_exceptions", "list", "", _W, "Users whose addresses stay, such as root."),
    Param("smtp_generic_maps", "list", "", _W,
          "Tables of the addresses that other hosts see instead of ours, in envelope and header; local mail is not changed."),
    Param("always_bcc", "str", "", _W, "An address that gets a copy of every message that is submitted or comes by SMTP."),
    Param("sender_bcc_maps", "list", "", _W, "Tables that say who gets a copy of a sender's mail."),
    Param("recipient_bcc_maps", "list", "", _W, "Tables that say who gets a copy of a recipient's mail."),
)
