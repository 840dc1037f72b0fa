#!/usr/bin/python3
"""Checks the layer rule of the source tree: check_layers.py [ROOT]

A file below src/ includes headers of its own folder and of lower layers only; folders of one layer do not see each other; libraries, sockets
and new processes are the business of few folders.  Also: every folder has a short README.md, and no file is too long.
Prints `file:line: why` for each violation and exits with 1; else prints one line and exits with 0.
"""

import re
import sys
from pathlib import Path

LAYERS = [
    "base",
    "os",
    "crypto io",
    "h1 h2 conf stream",
    "rpc priv store events glouglou release",
    "ca account fleet audit task route relay front resolve tunnel",
    "portmap manage peer update orb cloud probe collect viz web notify gateway",
    "server agent cloudd cli",
]
LAYER = {folder: layer for layer, folders in enumerate(LAYERS) for folder in folders.split()}

# Where a system header (or a whole family of them) may be included.  A place is a folder with all that is below it.
SYSTEM_HEADERS = {
    "openssl/": "crypto",
    "sqlite3.h": "store/sqlite",
    "uv.h": "io",
    "uv/": "io",
    "nghttp2/": "h2",
    "seccomp.h": "os priv",
    "sys/socket.h": "io os priv front relay resolve probe collect peer cloud",
}

# Made from proto/ and not in the tree.
GENERATED = re.compile(r"(^|/)(\w+\.pb|services|gg_modules)\.h$")
GENERATED_FROM = LAYER["rpc"]

PROCESS_PLACES = "os priv"
PROCESS_CALL = re.compile(
    r"(?<![\w.>])(v?fork|_Fork|forkpty|daemon|posix_spawnp?|execvp?e?|execlp?e?|fexecve|execveat|uv_spawn)\s*\(")
# Tests kill processes of their own making.
TEST_FILE = re.compile(r"(_test\.c|^test\.h)$")

README_LINES = 30
SOURCE_LINES = 700
TEST_LINES = 1700

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Comments, texts and characters, which hold no code; line ends inside them stay, so that lines keep their numbers.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


def lines_of(match):
    return "\n" * match.group().count("\n")


def inside(place, places):
    """Whether the folder `place` (such as "store/sqlite") is one of the places, or below one."""
    return any(place == p or place.startswith(p + "/") for p in places.split())


def system_header(place, header):
    for prefix, places in SYSTEM_HEADERS.items():
        if (header.startswith(prefix) if prefix.endswith("/") else header == prefix) and not inside(place, places):
            return f"<{header}> belongs to {places}"
    return None


def own_header(src, place, header):
    folder = place.split("/")[0]
    if GENERATED.search(header) and not (src / header).is_file():
        if LAYER[folder] < GENERATED_FROM:
            return f'generated "{header}" is for layer {GENERATED_FROM} and above; {folder} is in layer {LAYER[folder]}'
        return None
    target = header.split("/")[0]
    if "/" not in header or ".." in header.split("/") or not (src / target).is_dir():
        return f'"{header}" is not written as "folder/file.h" of a folder in src'
    if target not in LAYER or target == folder:
        return None  # a folder without a layer is reported by itself
    if LAYER[target] == LAYER[folder]:
        return f"{folder} must not see {target}: both are in layer {LAYER[folder]}"
    if LAYER[target] > LAYER[folder]:
        return f"{folder} (layer {LAYER[folder]}) must not see {target} (layer {LAYER[target]}) above it"
    return None


def includes(src, place, text):
    code = COMMENT.sub(lambda match: match.group(1) or lines_of(match), text)
    for number, line in enumerate(code.split("\n"), 1):
        match = INCLUDE.match(line)
        if match:
            bracket, header = match.groups()
            why = system_header(place, header) or (own_header(src, place, header) if bracket == '"' else None)
            if why:
                yield number, why


def processes(place, name, text):
    if inside(place, PROCESS_PLACES) or TEST_FILE.search(name):
        return
    for number, line in enumerate(NO_CODE.sub(lines_of, text).split("\n"), 1):
        for call in PROCESS_CALL.findall(line):
            yield number, f"{call}() belongs to {PROCESS_PLACES}"


def check_source(src, path):
    text = path.read_text(encoding="utf-8", errors="replace")
    place = path.parent.relative_to(src).as_posix()
    if place.split("/")[0] in LAYER:
        yield from includes(src, place, text)
        yield from processes(place, path.name, text)
    count = len(text.splitlines())
    most = TEST_LINES if TEST_FILE.search(path.name) else SOURCE_LINES
    if count > most:
        yield most + 1, f"{count} lines; a file has at most {most}"


def check_folder(folder):
    if folder.name not in LAYER:
        yield folder, 1, "this folder is in no layer (table in tools/check_layers.py)"
    readme = folder / "README.md"
    if not readme.is_file():
        yield readme, 1, "missing; its first line says what the folder is for"
        return
    lines = readme.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines or not lines[0].strip():
        yield readme, 1, "the first line says what the folder is for"
    if len(lines) > README_LINES:
        yield readme, README_LINES + 1, f"{len(lines)} lines; a README.md has at most {README_LINES}"


def check_tree(src):
    """Returns the violations (path, line, why), and how many folders and files were looked at."""
    folders = sorted(path for path in src.iterdir() if path.is_dir())
    sources = sorted(path for path in src.rglob("*.[ch]"))
    violations = [violation for folder in folders for violation in check_folder(folder)]
    violations += [(path, line, why) for path in sources for line, why in check_source(src, path)]
    return violations, len(folders), len(sources)


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    src = root / "src"
    if not src.is_dir():
        sys.exit(f"{src}: no such folder")
    violations, folders, sources = check_tree(src)
    for path, line, why in violations:
        print(f"{path.relative_to(root)}:{line}: {why}")
    if violations:
        sys.exit(1)
    print(f"layers: {folders} folders, {sources} files, no violation")


if __name__ == "__main__":
    main()
