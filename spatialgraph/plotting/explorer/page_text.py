"""The text of the explorer's page, from its parts in the folder ``page``."""

import html
import json
import re
from importlib import resources
from typing import Any

__all__ = ["page_text"]

_SCRIPTS = ("data", "network", "camera", "drawing", "colors", "card", "view", "pointer", "controls", "main")
_BLOCK = '<script type="text/plain" id="block-{}">{}</script>'


def page_text(title: str, facts: dict[str, Any], blocks: dict[str, str]) -> str:
    r"""Return one HTML document with its style, its script, and all data.

    Args:
        title: plain text.
        facts: what JSON takes.
        blocks: compressed arrays by name.

    Example:
        >>> r'"a": "\u003cb>"' in page_text("x", {"a": "<b>"}, {})
        True
    """
    parts = {
        "title": html.escape(title),
        "style": _file("style.css"),
        "script": "\n".join(_file(f"{name}.js") for name in _SCRIPTS),
        "facts": json.dumps(facts).replace("<", "\\u003c"),  # "</script>" within a name would end the element
        "blocks": "\n".join(_BLOCK.format(key, text) for key, text in blocks.items()),
    }
    # In one pass, so that braces within a part are left alone.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _file("index.html"))


def _file(name: str) -> str:
    return (resources.files("spatialgraph.plotting.explorer") / "page" / name).read_text(encoding="utf-8")
