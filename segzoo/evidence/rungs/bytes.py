"""The first rung: are size and hash of the file those of the manifest?"""

from segzoo.evidence.check import Check
from segzoo.evidence.ladder import Climb


def check_bytes(climb: Climb) -> Check:
    """Fetch the file and hold it to its size and hash. Raises what fetching raises."""
    setting = climb.setting
    artifact = climb.entry.artifact
    fetched = climb.fetched = setting.fetch(artifact)
    short = "sha256" if artifact.sha256 else "prefix, pinned" if artifact.sha256_prefix else "no hash, pinned"
    facts = {"artifact": artifact.name, "sha256": fetched.sha256, "size": fetched.size, "evidence": fetched.evidence}
    facts["urls"] = [mirror.url for mirror in artifact.urls]  # all of them: which one delivered the file changes from run to run
    facts |= {"files": artifact.hashes} if artifact.shards else {}
    facts |= {"provenance": artifact.provenance} if artifact.provenance else {}
    shards = f" in an index and {len(artifact.shards)} shards" if artifact.shards else ""
    return Check("bytes", "passed", short, f"{fetched.evidence}: {fetched.sha256}, {fetched.size:,} bytes{shards}", facts)
