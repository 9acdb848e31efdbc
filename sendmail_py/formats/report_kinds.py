"""The kinds of delivery report, and what each calls a result."""

from enum import Enum

from ..core.result import DeliveryResult, Handover, Outcome


class Kind(Enum):
    """The five reports, by what is asked."""

    FAILURE = "who has not got it"
    DELAY = "who still waits for it"
    SUCCESS = "who has got it, as NOTIFY=SUCCESS asks"
    DELIVERY = "what became of each recipient, as sendmail -v asks"
    VERIFICATION = "what would become of each recipient, as sendmail -bv asks"


# What may stand before the first point of a status; the first is for a status that is none.
_CLASSES = dict.fromkeys(("delivered", "relayed", "expanded", "deliverable"), "2") | {
    "failed": "54",
    "undeliverable": "54",
    "delayed": "4",
}
_ACTIONS = {Kind.FAILURE: "failed", Kind.DELAY: "delayed"}


def action_of(kind: Kind, result: DeliveryResult) -> str:
    """Return the action-value (RFC 3464 2.3.3); a verification has Postfix's two of its own."""
    if kind in _ACTIONS:
        return _ACTIONS[kind]
    success = result.outcome is Outcome.DELIVERED
    if kind is Kind.VERIFICATION:
        return "deliverable" if success else "undeliverable"
    if success:
        return "relayed" if result.handover is Handover.ENTRUSTED else result.handover.value
    return "failed" if result.outcome is Outcome.FAILED else "delayed"


def reason_of(kind: Kind, result: DeliveryResult) -> str:
    """Return what happened; where somebody asked for details, with the way it went."""
    if kind in _ACTIONS or result.relay in ("", "none"):
        return result.reason
    return f"delivery via {result.relay}: {result.reason}"


def status_of(action: str, status: str) -> str:
    """Return a status code (RFC 3463) that is one, and fits the action."""
    classes = _CLASSES[action]
    return status if _is_status(status, classes) else f"{classes[0]}.0.0"


def _is_status(status: str, classes: str) -> bool:
    parts = status.split(".")
    digits = all(part.isascii() and part.isdigit() and len(part) <= 3 for part in parts)
    return len(parts) == 3 and digits and parts[0] in tuple(classes)
