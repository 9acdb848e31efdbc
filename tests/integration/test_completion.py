"""Completion is typed in the real shells: what bash and zsh make of a word and the tabulator key."""

import contextlib
import io
import re
import shutil

import pytest

from sendmail_py.commands.mailctl import queue
from sendmail_py.commands.mailctl.main import VERBS, run
from tests.integration.instance import PATH, ROOT, Instance
from tests.servers.typed_shell import TypedShell

COMPLETION = ROOT / "packaging" / "completion"
READY = "READY[>]"
LINE = "\x15"  # control-U: the line is typed anew
# What is typed, and the line that it becomes.
COMPLETED = [
    ("mailctl qu\t", "mailctl queue "),
    ("mailctl test-d\t", "mailctl test-delivery "),
    ("mailctl queue summ\t", "mailctl queue summary "),
    ("mailctl queue --old\t", "mailctl queue --older"),
    ("mailctl queue delete --dry\t", "mailctl queue delete --dry-run"),
    ("mailctl config -e smtp_tls_security_l\t", "mailctl config -e smtp_tls_security_level"),
    ("mailctl config expl\t", "mailctl config explain "),
    ("mailctl config explain relayh\t", "mailctl config explain relayhost"),
    ("mailctl passwd ver\t", "mailctl passwd verify"),
    ("mailctl dkim keyg\t", "mailctl dkim keygen"),
    ("mailctl import ms\t", "mailctl import msmtp"),
    ("mailctl import --dry\t", "mailctl import --dry-run"),
    ("mailctl map texth\t", "mailctl map texthash:"),
    ("mailctl check --js\t", "mailctl check --json"),
    ("mailctl trace --lo\t", "mailctl trace --log"),
    ("mailctl start --fore\t", "mailctl start --foreground"),
    ("mailctl help tls\t", "mailctl help tls-probe"),
    ("mailctl -c DIR que\t", "mailctl -c DIR queue "),
    ("mailctl -c DIR config -X myor\t", "mailctl -c DIR config -X myorigin"),
    ("mailctl send-test ro\t", "mailctl send-test root"),
    ("mailctl oauth test --js\t", "mailctl oauth test --json"),
    ("mailctl setup --rem\t", "mailctl setup --remove"),
    ("mailctl queue show --em\t", "mailctl queue show --eml"),
    ("mailctl oauth login --tok\t", "mailctl oauth login --token-url"),
    ("mailctl dkim keygen --ty\t", "mailctl dkim keygen --type"),
    ("mailctl map --js\t", "mailctl map --json"),
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    place = tmp_path_factory.mktemp("completion")
    (place / "bin").mkdir()
    (place / "bin" / "mailctl").symlink_to(ROOT / "bin" / "mailctl")
    functions = place / "site-functions"
    functions.mkdir()
    shutil.copy(COMPLETION / "_mailctl", functions)
    instance = Instance(place / "i")
    settings = {"PATH": f"{place}/bin:{PATH}", "MAIL_CONFIG": str(instance.path), "HOME": str(place), "TERM": "xterm"}
    return settings | {"LC_ALL": "C.UTF-8", "FUNCTIONS": str(functions), "DIR": str(instance.path)}


def bash(environment):
    shell = TypedShell(["bash", "--norc", "--noprofile", "-i"], environment)
    shell.type("bind 'set bell-style none'; bind 'set enable-bracketed-paste off'\n", r"[$#] ")
    shell.type(f"source {COMPLETION}/mailctl.bash; PS1=READY'>'\n", READY)
    return shell


def zsh(environment):
    shell = TypedShell(["zsh", "-f", "-i"], environment)
    shell.type("unsetopt beep zle_bracketed_paste 2>/dev/null; unset zle_bracketed_paste\n", "[%#] ")
    shell.type("fpath=($FUNCTIONS $fpath); autoload -U compinit; compinit -u -D; PS1=READY'>'\n", READY)
    return shell


SHELLS = [pytest.param(start, marks=pytest.mark.real(start.__name__), id=start.__name__) for start in (bash, zsh)]


@pytest.fixture(scope="module", params=SHELLS)
def shell(request, environment):
    with request.param(environment) as shell:
        yield shell


@pytest.mark.parametrize(("typed", "line"), COMPLETED, ids=[typed.strip() for typed, _ in COMPLETED])
def test_a_word_that_is_begun_is_completed(shell, environment, typed, line):
    typed, line = (text.replace("DIR", environment["DIR"]) for text in (typed, line))
    shell.type(LINE + typed, re.escape(line))


def test_two_tabs_list_every_verb(shell):
    shown = shell.type(f"{LINE}mailctl \t\t", "(?s)" + "".join(rf"(?=.*\b{verb}\b)" for verb in VERBS))
    assert set(VERBS) <= set(re.findall(r"[a-z][a-z-]+", shown))


BRANCH = re.compile(r"^        ((?:[a-z-]+ \| )*[a-z-]+)\)(.*?);;", re.M | re.S)
PARTS = {
    "queue": "list count summary show flush hold release requeue delete expire expire-now".split(),
    "config": ["", "explain"],
    "oauth": ["login", "list", "test", "remove"],
    "passwd": ["add", "remove", "verify", "list"],
}


def help_of(*words):
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        run([*filter(None, words), "--help"], "/")
    return said.getvalue()


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_each_option_that_the_help_of_a_verb_names_is_completed_and_in_the_manual(verb):
    manual = (ROOT / "docs/man/mailctl.8").read_text().replace("\\-", "-")
    for part in PARTS.get(verb, [""]):
        shown = re.findall(r"^  (-[^ ,]+)(?: [A-Z\[][^ ,]*)?(?:, (--[a-z-]+))?", help_of(verb, part), re.M)
        for forms in ({form for form in forms if form} for forms in shown):
            if "--help" in forms:
                continue
            assert any(re.search(rf"Fl \w*{form[1:]}", manual) for form in forms), forms
            for name in ("mailctl.bash", "_mailctl"):
                found = dict(BRANCH.findall((COMPLETION / name).read_text()))
                branch = next(text for labels, text in found.items() if verb in labels.split(" | "))
                assert any(re.search(rf"(?<![\w-]){form}(?![\w-])", branch) for form in forms), (name, part, forms)


def test_what_is_completed_is_what_the_commands_take():
    """The words of both files, held against the commands that they are for."""
    for name in ("mailctl.bash", "_mailctl"):
        found = dict(BRANCH.findall((COMPLETION / name).read_text()))
        for verb, parts in PARTS.items():
            assert all(re.search(rf"(?<![\w-]){part}(?![\w-])", found[verb]) for part in parts), (name, verb)
    assert set(PARTS["queue"]) >= set(queue._STEERING)
