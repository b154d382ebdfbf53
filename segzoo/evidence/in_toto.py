"""A receipt as an in-toto statement, so that tools which sign and check those can be used for it.

The form is in-toto's Statement v1 (github.com/in-toto/attestation, spec/v1/statement.md): what is spoken of, known by its hash,
and what is said of it. segzoo signs nothing itself.
"""

from collections.abc import Mapping
from typing import Any

from segzoo.errors import IntegrityError
from segzoo.evidence.receipt import facts_of

STATEMENT = "https://in-toto.io/Statement/v1"


def statement(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The statement that a receipt makes of its weights. Raises IntegrityError where they have no hash, since they never came."""
    facts = facts_of(receipt, "bytes")
    if "sha256" not in facts:
        raise IntegrityError(f"the receipt of {receipt['name']} is of no bytes: its first rung failed", hint="segzoo verify NAME makes a new one")
    subject = {"name": facts["artifact"], "digest": {"sha256": facts["sha256"]}}
    kind, version = receipt["schema"].split("/")
    return {"_type": STATEMENT, "subject": [subject], "predicateType": f"urn:{kind}:{version}".replace("-", ":"), "predicate": dict(receipt)}
