"""Hook of mkdocs: pages from outside docs/, with links.

A link to a file that is no page becomes the file's name. Raises `PluginError` for one that does not exist.
"""

import os.path
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"deploy/README.md": "deployment.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of `PAGES`."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links between files as links between pages."""
    own = page.file.src_uri
    sources = {page: source for source, page in PAGES.items()}
    folder = os.path.dirname(sources.get(own, f"docs/{own}"))

    def relinked(link: re.Match[str]) -> str:
        target = os.path.normpath(os.path.join(folder, link[2]))
        if not (ROOT / target).exists():
            raise PluginError(f"{own}: there is no {target}")
        uri = PAGES.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(uri) is None:
            return link[1] if link[1].startswith("`") else f"{link[1]} (`{target}`)"
        return f"[{link[1]}]({os.path.relpath(uri, os.path.dirname(own) or '.')}{link[3] or ''})"

    return LINK.sub(relinked, markdown)
