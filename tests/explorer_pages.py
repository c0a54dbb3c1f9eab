"""Reading an explorer's page as its script does, for tests."""

import base64
import json
import re
import zlib

import numpy as np


def read_page(path):
    """Return the facts of a page, and the arrays of each of its blocks by name."""
    text = path.read_text(encoding="utf-8")
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', text, re.DOTALL)[1])
    blocks = {}
    for key, places in facts["blocks"].items():
        data = zlib.decompress(base64.b64decode(re.search(rf'id="block-{key}">(.*?)</script>', text)[1]))
        blocks[key] = {
            name: np.frombuffer(data, f"<{kind}", length, offset) for name, (kind, offset, length) in places.items()
        }
    return facts, blocks
