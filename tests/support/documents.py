"""The documents of the repository, and the blocks of commands and programs in them."""

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8100"
"""The address of the server in all examples."""


def read_document(name: str) -> str:
    """Return the text of a document, by its path in the repository."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def list_guides() -> list[str]:
    """Return the paths of the documents for users and operators: README and the pages in docs/."""
    pages = sorted((REPOSITORY / "docs").rglob("*.md"))
    return ["README.md", *(page.relative_to(REPOSITORY).as_posix() for page in pages)]


def find_blocks(language: str, *names: str) -> list[str]:
    """Return the blocks in this language in the documents named, or in all guides."""
    texts = map(read_document, names or list_guides())
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    return [block for text in texts for block in pattern.findall(text)]


def find_block(language: str, name: str) -> str:
    """Return the only block in this language in the document."""
    (block,) = find_blocks(language, name)
    return block
