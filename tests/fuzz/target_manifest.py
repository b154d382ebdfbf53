"""Manifests: YAML that a stranger wrote."""

from harness import Target
from support import MINI

from segzoo.manifest.document import load_manifest

TARGETS = [Target("manifest", lambda: [b"version: 1\n", (MINI / "zoo.yaml").read_bytes()], load_manifest, name="zoo.yaml")]
