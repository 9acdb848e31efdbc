"""Command lines known from the source of programs: read as their authors meant them."""

import pytest

from sendmail_py.commands.sendmail_options import Options, parse

# program: (argv, what has to come of it); what is not named has its default.
CALLERS = {
    "Vixie cron": (
        "-FCronDaemon -odi -oem -or0s bob", {"full_name": "CronDaemon", "deliver_first": True, "recipients": ["bob"]}
    ),
    "bcron": ("-FCronDaemon -odi -oem bob", {"full_name": "CronDaemon", "deliver_first": True, "recipients": ["bob"]}),
    "Sympa": (
        ["-oi", "-odi", "-oem", "-N", "success,delay,failure", "-V00000042", "-f", "", "--", "bob", "-carol"],
        {"ignore_dots": True, "notify": ("SUCCESS", "DELAY", "FAILURE"), "envid": "00000042", "sender": "",
         "deliver_first": True, "recipients": ["bob", "-carol"]},
    ),
    "INN news2mail": (
        "-oi -oee -odq -falice@example.org -pNNTP:news.example.org bob carol",
        {"ignore_dots": True, "queue_only": True, "sender": "alice@example.org", "recipients": ["bob", "carol"]},
    ),
    "Request Tracker": ("-oi -t -f <>", {"ignore_dots": True, "extract": True, "sender": "<>"}),
    "Request Tracker for sendmail 8": (
        "-oi -ODeliveryMode=b -OErrorMode=m -t -f rt=bob=x.org@v.org",
        {"ignore_dots": True, "extract": True, "sender": "rt=bob=x.org@v.org"},
    ),
    "smartlist": (
        "-oem -odb -oi -om -flist-request -t", {"ignore_dots": True, "sender": "list-request", "extract": True}
    ),
    "smartlist mindlist": (
        "-f master -oi -t owner", {"sender": "master", "ignore_dots": True, "extract": True, "recipients": ["owner"]}
    ),
    "mon": ("-oi -t -f a -F x", {"ignore_dots": True, "extract": True, "sender": "a", "full_name": "x"}),
    "changetrack": (
        "-f a -oi -odi bob", {"sender": "a", "ignore_dots": True, "deliver_first": True, "recipients": ["bob"]}
    ),
    "mrtg-traffic-sum": ("-f bob bob", {"sender": "bob", "recipients": ["bob"]}),
    "bacula, debsecan, warnquota, cvs-mailcommit": ("-t", {"extract": True}),
    "cron-apt": ("-t -oi", {"extract": True, "ignore_dots": True}),
    "svn commit-email.pl": ("-fa bob carol", {"sender": "a", "recipients": ["bob", "carol"]}),
    "mailagent": ("-odq -i bob", {"queue_only": True, "ignore_dots": True, "recipients": ["bob"]}),
    "Emacs feedmail.el": ("-oi -t -oem -odb -oA/etc/aliases", {"ignore_dots": True, "extract": True}),
    "Alpine": ("-oem -t -oi", {"extract": True, "ignore_dots": True}),
    "fetchmail": ("-i -f a -- bob", {"ignore_dots": True, "sender": "a", "recipients": ["bob"]}),
    "mercurial, formail": ("-bm -t", {"mode": "m", "extract": True}),
    "lettre": ("-i -f a -- bob carol", {"ignore_dots": True, "sender": "a", "recipients": ["bob", "carol"]}),
    "CodeIgniter": ("-oi -f a -t", {"ignore_dots": True, "sender": "a", "extract": True}),
    "CodeIgniter, older": ("-oi -f a -t -r b", {"ignore_dots": True, "sender": "b", "extract": True}),
    "PEAR Mail": ("-i -fa -- bob", {"ignore_dots": True, "sender": "a", "recipients": ["bob"]}),
    "if-up and ppp hooks": ("-q", {"queue": [""]}),
    "qtool": ("-qI660F3F292A7D -O Timeout.queuereturn=now", {"queue": ["I660F3F292A7D"]}),
}  # fmt: skip


@pytest.mark.parametrize("caller", CALLERS)
def test_the_command_line_of_a_program_means_what_it_means_to_sendmail(caller):
    argv, meaning = CALLERS[caller]
    options = parse(argv.split() if isinstance(argv, str) else argv)
    default = Options()
    expected = {name: meaning.get(name, getattr(default, name)) for name in vars(Options())}
    assert {name: getattr(options, name) for name in vars(Options())} == expected
