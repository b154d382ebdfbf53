"""For mkdocs: a link in a page to a file elsewhere in the repository leads, on the site, to a copy of that file."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()(?:\.\./)+((?:segzoo|examples|tests)/[^)#]+|zoo\.yaml|CONTRIBUTING\.md)(?=\))")


def on_files(files: Files, config: Any) -> Files:
    """Adds every file that a page links to."""
    linked = {path for page in files.documentation_pages() for path in LINK.findall(page.content_string)}
    for path in sorted(linked):
        files.append(File.generated(config, f"files/{path.removesuffix('.md')}.txt", content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Points the links at the copies."""
    up = "../" * page.file.src_uri.count("/")
    return LINK.sub(lambda found: f"{up}files/{found[1].removesuffix('.md')}.txt", markdown)
