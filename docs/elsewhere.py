"""For mkdocs: a link in a page to a file elsewhere in the repository leads, on the site, to a copy of that file."""

import re
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()\.\./[^)#:]+")


def elsewhere(page: File, link: str) -> str | None:
    """The path in the repository of the file that a page's link leads to, where that is not a page of the site."""
    path = normpath(f"docs/{dirname(page.src_uri)}/{link}")
    return None if path.startswith("docs/") else path


def copied(path: str) -> str:
    return f"files/{path.removesuffix('.md')}.txt"


def on_files(files: Files, config: Any) -> Files:
    """Adds every file that a page links to."""
    linked = {elsewhere(page, link) for page in files.documentation_pages() for link in LINK.findall(page.content_string)} - {None}
    for path in sorted(linked):
        files.append(File.generated(config, copied(path), content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Points the links at the copies."""

    def pointed(found: re.Match[str]) -> str:
        path = elsewhere(page.file, found[0])
        return found[0] if path is None else "../" * page.file.src_uri.count("/") + copied(path)

    return LINK.sub(pointed, markdown)
