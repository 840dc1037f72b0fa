#!/usr/bin/python3
"""Packs the console's files into a C source: pack_assets.py DIST FALLBACK OUTPUT [DEPFILE]

Each file below DIST (web/dist, as `npm run build` leaves it) is there plain, and by gzip and brotli where that is smaller.  Without a DIST there
is one page, FALLBACK, which says how to get the console.  Scripts inside the page are allowed by their hashes (Content Security Policy Level 3,
section 2.3.1).
"""
import base64
import gzip
import hashlib
import re
import sys
from pathlib import Path

import brotli

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/vnd.microsoft.icon", ".json": "application/json",
         ".woff2": "font/woff2", ".txt": "text/plain; charset=utf-8", ".webmanifest": "application/manifest+json"}
# name-HASH.js: the build names them by their content.
HASHED = re.compile(r"^assets/.*-[A-Za-z0-9_-]{8,}\.\w+$")


def files(dist, fallback):
    """Path below DIST and content of each file."""
    found = sorted(path for path in dist.rglob("*") if path.is_file() and path.suffix != ".map") if (dist / "index.html").is_file() else []
    if not found:
        return [("index.html", fallback.read_bytes())]
    return [(path.relative_to(dist).as_posix(), path.read_bytes()) for path in found]


def literal(data):
    """Bytes as a C string, in lines that a compiler takes."""
    text, lines = "", []
    for byte in data:
        text += f"\\{byte:03o}" if byte < 32 or byte > 126 or byte in b'"\\?' else chr(byte)
        if len(text) > 120:
            lines.append(text)
            text = ""
    return "\n".join(f'\t"{line}"' for line in lines + [text])


def scripts(page):
    found = re.findall(rb"<script>(.*?)</script>", page, re.DOTALL)
    return "".join(f" 'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found)


def main(dist, fallback, output, depfile=None):
    dist, fallback = Path(dist), Path(fallback)
    parts, rows, packed_files = [], [], files(dist, fallback)
    for number, (path, data) in enumerate(packed_files):
        kind = TYPES.get(Path(path).suffix)
        if kind is None:
            sys.exit(f"{path}: no content type is known for it")
        forms = {"plain": data, "gzip": gzip.compress(data, 9, mtime=0), "brotli": brotli.compress(data)}
        values = []
        for form, packed in forms.items():
            if form != "plain" and len(packed) >= len(data):
                values.append('{ "", 0 }')
                continue
            parts.append(f"static const char {form}_{number}[] =\n{literal(packed)};\n")
            values.append(f"{{ {form}_{number}, {len(packed)} }}")
        etag = hashlib.sha256(data).hexdigest()[:32]
        immutable = "true" if HASHED.match(path) else "false"
        rows.append(f'\t{{ "/{path}", "{kind}", "\\"{etag}\\"", {immutable},\n\t  {", ".join(values)} }},\n')
    Path(output).write_text('/* Made by tools/pack_assets.py. */\n#include "web/assets.h"\n\n' + "\n".join(parts) +
                            "\nconst struct asset assets[] = {\n" + "".join(rows) +
                            "};\nconst size_t n_assets = sizeof assets / sizeof *assets;\n"
                            f'const char asset_scripts[] = "{scripts(dict(packed_files)["index.html"])}";\n')
    if depfile:
        # Folders too: their time changes when files come or go; that of web/ when dist does.
        seen = [path for path in [dist.parent, dist, *dist.rglob("*")] if path.exists()]
        Path(depfile).write_text(f"{output}: " + " ".join(str(path).replace(" ", "\\ ") for path in seen) + "\n")


main(*sys.argv[1:])
