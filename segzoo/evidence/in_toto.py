"""A receipt as an in-toto statement, which existing tools can sign and check.

The form is in-toto's Statement v1 (github.com/in-toto/attestation, spec/v1/statement.md): a subject, known by its hash, and what
is stated about it. segzoo signs nothing itself.
"""

from collections.abc import Mapping
from typing import Any

from segzoo.errors import IntegrityError
from segzoo.evidence.receipt import facts_of

STATEMENT = "https://in-toto.io/Statement/v1"


def statement(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The statement that a receipt makes about its weights. Raises IntegrityError where there is no hash, since the bytes rung failed."""
    facts = facts_of(receipt, "bytes")
    if "sha256" not in facts:
        raise IntegrityError(f"the receipt of {receipt['name']} is of no bytes: its first rung failed", hint="segzoo verify NAME makes a new one")
    files = facts.get("files") or {facts["artifact"]: facts["sha256"]}
    subject = [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in files.items()]
    kind, version = receipt["schema"].split("/")
    return {"_type": STATEMENT, "subject": subject, "predicateType": f"urn:{kind}:{version}".replace("-", ":"), "predicate": dict(receipt)}
