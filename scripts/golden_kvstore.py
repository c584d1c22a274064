"""
Makes tests/golden/kvstore.json of a dump of what real Cilium wrote into etcd, as text.

    python scripts/golden_kvstore.py DUMP > tests/golden/kvstore.json
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

_SECTION = re.compile(r"^######## (.*)$", re.MULTILINE)
_ENTRY = re.compile(
    r"=== KEY (?P<key>\S+)\n--- [^\n]*value (?P<size>\d+) bytes\n(?P<body>.*?)(?=\n\n|\Z)", re.DOTALL
)
_TEXT = re.compile(r"--- VALUE\n?(.*)", re.DOTALL)
_FRAME = re.compile(r"--- zstd frame, base64:\n(\S+)\n--- protobuf \(decompressed\), base64:\n(\S+)")


def entries(dump: str) -> list[dict[str, str]]:
    """
    Each with `store`, the cluster whose etcd it was in, `key`, and `value`, or `frame` and `message`, base64.

    Raises:
        ValueError: The dump is not of the form that this expects.
    """
    found: list[dict[str, str]] = []
    store = ""
    sections = _SECTION.split(dump)
    for title, section in zip(sections[1::2], sections[2::2], strict=True):
        if named := re.match(r"CLUSTER (\w+) etcd", title):
            store = named[1].lower()
        for entry in _ENTRY.finditer(section):
            given = {"store": store, "key": entry["key"]}
            if text := _TEXT.match(entry["body"]):
                if len(text[1].encode()) != int(entry["size"]):
                    raise ValueError(f"{entry['key']}: {len(text[1])} bytes, expected {entry['size']}")
                given["value"] = text[1]
            elif frame := _FRAME.match(entry["body"]):
                given["frame"], given["message"] = frame[1], frame[2]
            else:
                raise ValueError(f"{entry['key']}: neither a text nor a frame")
            found.append(given)
    if len(found) != dump.count("\n=== KEY "):
        raise ValueError(f"{len(found)} entries, expected {dump.count('=== KEY ')}")
    return found


if __name__ == "__main__":
    written = {
        "producer": "clustermesh-apiserver and kvstoremesh of Cilium 1.20.2 (Apache-2.0), etcd 3.4.23",
        "entries": entries(Path(sys.argv[1]).read_text()),
    }
    print(json.dumps(written, indent=1))
