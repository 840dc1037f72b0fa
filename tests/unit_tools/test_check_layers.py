"""The layer check names each kind of violation, with its file and line, and nothing else."""

import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "check_layers.py"

GOOD = {
    "base/buf.h": "#include <stddef.h>\n",
    "os/proc.c": '#include <sys/socket.h>\n#include "base/buf.h"\nint f(void)\n{\n\treturn fork();\n}\n',
    "crypto/tls.c": '#include <openssl/ssl.h>\n#include "crypto/tls.h"\n',
    "crypto/tls.h": "",
    "io/loop.c": '#include <uv.h>\n#include "os/proc.h"\n',
    "h1/h1.h": '#include "io/io.h"\n',
    "h2/h2.c": "#include <nghttp2/nghttp2.h>\n",
    "priv/role.c": "#include <seccomp.h>\nint f(void)\n{\n\treturn execve(p, a, e);\n}\n",
    "store/sqlite/db.c": '#include <sqlite3.h>\n#include "store/store.h"\n#include "crypto/tls.h"\n',
    "store/sqlite/db_test.c": "int f(void)\n{\n\treturn fork();\n}\n",
    "rpc/call.c": '#include "link.pb.h"\n#include "services.h"\n#include "h1/h1.h"\n#include "h2/h2.h"\n',
    "cli/main.c": '#include "base/buf.h"\n#include "fleet.pb.h"\n#include "store/store.h"\n',
    "base/words.c": '/* fork()\n * #include "cli/cli.h"\n */\n// execv()\nconst char *s = "fork() \\" /* ";\n'
    "int a = '\"';\nvoid my_fork(void);\nvoid f(void)\n{\n\tops->fork(1);\n\tops.execv(2);\n}\n",
}


def run(root):
    result = subprocess.run(["/usr/bin/python3", TOOL, root], capture_output=True, text=True, timeout=60)
    return result.returncode, result.stdout.splitlines(), result.stderr


@pytest.fixture
def tree(tmp_path):
    def write(name, text):
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    for name, text in GOOD.items():
        write(name, text)
        write(name.split("/")[0] + "/README.md", "What it is for.\n")
    return tmp_path, write


def test_clean_tree(tree):
    root, _ = tree
    code, lines, _ = run(root)
    assert (code, len(lines)) == (0, 1), lines
    assert lines[0] == f"layers: 10 folders, {len(GOOD)} files, no violation"


SOURCES = [
    ("base/x.c", '#include "os/proc.h"\n', 1, "base (layer 0) must not see os (layer 1) above it"),
    ("h1/x.h", '\n#include "rpc/call.h"\n', 2, "h1 (layer 3) must not see rpc (layer 4) above it"),
    ("h1/x.c", '#  include "h2/h2.h"\n', 1, "h1 must not see h2: both are in layer 3"),
    ("crypto/x.c", '/* why\n */ #include "io/io.h"\n', 2, "crypto must not see io: both are in layer 2"),
    ("store/sqlite/x.c", '#include "priv/role.h"\n', 1, "store must not see priv: both are in layer 4"),
    ("h1/x_test.c", '#include "cli/cli.h"\n', 1, "h1 (layer 3) must not see cli (layer 7) above it"),
    ("h1/x.c", '#include "h1.h"\n', 1, '"h1.h" is not written as "folder/file.h" of a folder in src'),
    ("h1/x.c", '#include "../base/buf.h"\n', 1, '"../base/buf.h" is not written as "folder/file.h" of a folder in src'),
    ("base/x.c", '#include "base/../cli/a.h"\n', 1, '"base/../cli/a.h" is not written as "folder/file.h" of a folder in src'),
    ("h1/x.c", '#include "nowhere/a.h"\n', 1, '"nowhere/a.h" is not written as "folder/file.h" of a folder in src'),
    ("h2/x.c", '#include "link.pb.h"\n', 1, 'generated "link.pb.h" is for layer 4 and above; h2 is in layer 3'),
    ("os/x.c", '#include "services.h"\n', 1, 'generated "services.h" is for layer 4 and above; os is in layer 1'),
    ("io/x.c", "#include <openssl/evp.h>\n", 1, "<openssl/evp.h> belongs to crypto"),
    ("cli/x.c", "#include <openssl/evp.h>\n", 1, "<openssl/evp.h> belongs to crypto"),
    ("store/x.c", "#include <sqlite3.h>\n", 1, "<sqlite3.h> belongs to store/sqlite"),
    ("rpc/x.c", "#include <uv.h>\n", 1, "<uv.h> belongs to io"),
    ("rpc/x.c", "#include <nghttp2/nghttp2.h>\n", 1, "<nghttp2/nghttp2.h> belongs to h2"),
    ("cli/x.c", "#include <seccomp.h>\n", 1, "<seccomp.h> belongs to os priv"),
    ("rpc/x.c", "#include <sys/socket.h>\n", 1, "<sys/socket.h> belongs to io os priv front relay resolve probe collect peer cloud"),
    ("cli/x.c", "int f(void)\n{\n\treturn fork();\n}\n", 3, "fork() belongs to os priv"),
    ("cli/x.c", '/* a\n * b */ const char *s = "\\"//"; int i = vfork ();\n', 2, "vfork() belongs to os priv"),
    ("cli/x.h", "static int f = execvp(a, b);\n", 1, "execvp() belongs to os priv"),
    ("base/x.c", "int f = execl(a, b);\n", 1, "execl() belongs to os priv"),
    ("io/x.c", "int f = posix_spawn(a);\n", 1, "posix_spawn() belongs to os priv"),
    ("io/x.c", "int f = uv_spawn(a);\n", 1, "uv_spawn() belongs to os priv"),
    ("base/x.c", "\n" * 701, 701, "701 lines; a file has at most 700"),
]


@pytest.mark.parametrize("name, text, line, why", SOURCES)
def test_violation_in_a_source(tree, name, text, line, why):
    root, write = tree
    write(name, text)
    assert run(root)[:2] == (1, [f"src/{name}:{line}: {why}"])


def test_a_file_of_the_tree_is_not_generated(tree):
    root, write = tree
    write("cli/services.h", "")
    write("rpc/x.c", '#include "cli/services.h"\n')
    assert run(root)[:2] == (1, ["src/rpc/x.c:1: rpc (layer 4) must not see cli (layer 7) above it"])


def test_limits_are_inclusive(tree):
    root, write = tree
    write("base/x.c", "\n" * 700)
    write("base/README.md", "Purpose.\n" + "\n" * 29)
    assert run(root)[0] == 0


@pytest.mark.parametrize("text, line, why", [
    ("Purpose.\n" + "\n" * 30, 31, "31 lines; a README.md has at most 30"),
    ("", 1, "the first line says what the folder is for"),
    ("\nPurpose.\n", 1, "the first line says what the folder is for"),
])
def test_readme(tree, text, line, why):
    root, write = tree
    write("base/README.md", text)
    assert run(root)[:2] == (1, [f"src/base/README.md:{line}: {why}"])


def test_missing_readme(tree):
    root, _ = tree
    (root / "src/h1/README.md").unlink()
    assert run(root)[:2] == (1, ["src/h1/README.md:1: missing; its first line says what the folder is for"])


def test_folder_without_layer(tree):
    root, write = tree
    write("extra/README.md", "Purpose.\n")
    write("extra/x.c", '#include "cli/cli.h"\n')
    assert run(root)[:2] == (1, ["src/extra:1: this folder is in no layer (table in tools/check_layers.py)"])


def test_all_violations_are_named(tree):
    root, write = tree
    write("base/x.c", '#include "os/a.h"\n#include "io/a.h"\n')
    code, lines, _ = run(root)
    assert code == 1
    assert [line.split(": ")[0] for line in lines] == ["src/base/x.c:1", "src/base/x.c:2"]


def test_no_tree(tmp_path):
    code, lines, error = run(tmp_path)
    assert (code, lines) == (1, [])
    assert "no such folder" in error
