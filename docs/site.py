"""Hook of mkdocs: the site shows the pages where they lie in the repository, so that one link works in both places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markdown.extensions import Extension
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SHOWN = (
    "*.md",
    "LICENSE",
    "CITATION.cff",
    "config/*.md",
    "config/*.yaml",
    "benchmarks/README.md",
    "docs/*.md",
    "docs/*.csv",
    "docs/*.svg",
    "docs/*.css",
)

TAB = "\ue000"  # of no alphabet


class TwoSpaces(Extension):
    """What belongs to a point of a list is indented by two spaces, as everywhere but in Python-Markdown."""

    def extendMarkdown(self, md: Any) -> None:
        """Set the width of an indent."""
        md.tab_length = 2


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Keep tabs, which Markdown makes blanks: a table that is copied from the site must have them."""
    return markdown.replace("\t", TAB)


def on_page_content(html: str, **_: Any) -> str:
    """Put the tabs back."""
    return html.replace(TAB, "\t")


def on_config(config: Any) -> Any:
    """Add the extension; the configuration itself takes names alone."""
    config["markdown_extensions"].append(TwoSpaces())
    return config


def on_files(files: Files, config: Any) -> Files:
    """Put the repository's pages in the place of the folder docs/."""
    for file in [file for file in files if Path(str(file.abs_src_path)).is_relative_to(ROOT / "docs")]:
        files.remove(file)
    for path in sorted(path for pattern in SHOWN for path in ROOT.glob(pattern)):
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files
