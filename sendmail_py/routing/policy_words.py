"""check_policy_service: what a policy service is told of a client and its transaction, and what its answer does.

The attributes are those of Postfix 3.7, in its order. What is not known is there, and empty.
"""

from .access_words import act
from .restriction_scene import POLICY, Ask, Asking, Scene, Word


def attributes_of(scene: Scene) -> dict[str, object]:
    """Return what a policy service is told."""
    subject, facts = scene.subject, scene.subject.facts
    state = "DATA" if facts.state == "BDAT" else facts.state
    return {
        "request": "smtpd_access_policy",
        "protocol_state": state,
        "protocol_name": facts.protocol,
        "client_address": subject.client.address,
        "client_name": subject.client.name,
        "client_port": facts.client_port,
        "reverse_client_name": facts.reverse_name,
        "server_address": facts.server_address,
        "server_port": facts.server_port,
        "helo_name": subject.helo,
        "sender": subject.sender or "",
        "recipient": subject.recipient or "",
        "recipient_count": facts.recipients if state in ("DATA", "END-OF-MESSAGE") else 0,
        "queue_id": "",
        "instance": facts.instance,
        "size": facts.size,
        "etrn_domain": "",
        "stress": "",
        "sasl_method": facts.sasl_method,
        "sasl_username": facts.sasl_username,
        "sasl_sender": "",
        "ccert_subject": "",
        "ccert_issuer": "",
        "ccert_fingerprint": "",
        "ccert_pubkey_fingerprint": "",
        "encryption_protocol": facts.tls[0],
        "encryption_cipher": facts.tls[1],
        "encryption_keysize": facts.tls[2],
    }


def _check_policy_service(scene: Scene, service: str) -> Asking:
    action = yield Ask(POLICY, (service, attributes_of(scene)))
    return (yield from act(scene, service, action, scene.name, scene.label))


POLICY_WORDS: dict[str, Word] = {"check_policy_service": _check_policy_service}
