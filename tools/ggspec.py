#!/usr/bin/python3
"""Makes code and documents of the glouglou modules in proto/modules/*.ggspec (format: proto/modules/README.md).

ggspec.py                      writes web/src/live/modules.generated.ts and docs/modules.md, which are kept in the tree
ggspec.py --check              exits with 1 when one of them is not current
ggspec.py --c HEADER SOURCE SPEC...   writes the C tables (at build time)
"""
import json
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPES = {  # type: (C type of the member, in the tables)
    "u8": ("uint8_t", "GG_TYPE_U8"), "u16": ("uint16_t", "GG_TYPE_U16"), "u32": ("uint32_t", "GG_TYPE_U32"), "u64": ("uint64_t", "GG_TYPE_U64"),
    "varint": ("uint64_t", "GG_TYPE_VARINT"), "string": ("struct str", "GG_TYPE_STRING"), "address": ("struct gg_address", "GG_TYPE_ADDRESS"),
    "flow": ("struct gg_flow", "GG_TYPE_FLOW"), "flowref": ("struct gg_flow", "GG_TYPE_FLOW_REF"), "process": ("struct gg_process", "GG_TYPE_PROCESS"),
    "hops": ("struct gg_hops", "GG_TYPE_HOPS"), "flag": ("bool", "GG_TYPE_FLAG"),
}
PARTS = {
    "process": ["pid", "start"], "address": ["id"], "string": ["base"],
    "flow": ["protocol", "local", "remote", "remote_id", "remote_port", "peer", "direction"],
}
PARTS["flowref"] = PARTS["flow"]
STEPS = {  # word: (in the tables, has an id, arguments)
    "node": ("GG_STEP_NODE", True, "kind label detail pid shared"), "gone": ("GG_STEP_GONE", True, ""), "edge": ("GG_STEP_EDGE", True, "kind from to"),
    "cut": ("GG_STEP_CUT", True, ""), "count": ("GG_STEP_COUNT", True, "bytes way"), "row": ("GG_STEP_ROW", False, "subject object detail bytes pid"),
}
NAME = re.compile(r"[a-z][a-z0-9_]*$", re.IGNORECASE)


class SpecError(Exception):
    pass


class Field:
    def __init__(self, name, kind, maximum=0, condition=None, text=""):
        self.name, self.kind, self.max, self.condition, self.text = name, kind, maximum, condition, text


class Step:
    def __init__(self, word, templates, plain, when, unless):
        self.word, self.templates, self.plain, self.when, self.unless = word, templates, plain, when, unless


class Record:
    def __init__(self, name, number, text):
        self.name, self.number, self.text = name.lower(), number, text
        self.fields, self.steps, self.redis = [], [], []

    def field(self, name):
        for index, field in enumerate(self.fields):
            if field.name == name:
                return index, field
        raise SpecError(f"{self.name} has no field {name}")


class Module:
    def __init__(self, name, number):
        self.name, self.number, self.title, self.about = name, number, name, ""
        self.columns, self.records = {}, []


def need(condition, what):
    if not condition:
        raise SpecError(what)


def template(record, text):
    """A list of literals (str) and (field index, part) pairs; index None: the device."""
    pieces = []
    for literal, name in re.findall(r"([^{}]+)|\{([^{}]*)\}", text):
        if literal:
            pieces.append(literal)
        elif name == "device":
            pieces.append((None, "device"))
        else:
            base, _, part = name.partition(".")
            index, field = record.field(base)
            need(not part or part in PARTS.get(field.kind, []), f"{{{name}}}: no such part of a {field.kind}")
            need(part or field.kind not in ("hops", "flag"), f"{{{name}}} has no text")
            pieces.append((index, part or "whole"))
    need("".join(p if isinstance(p, str) else "" for p in pieces) == re.sub(r"\{[^{}]*\}", "", text), f"{text}: braces")
    return pieces


def read_conditions(record, words):
    """Bits of the fields that have to be there, and of those that must not be."""
    bits = {"if": 0, "unless": 0}
    while len(words) >= 2 and words[-2] in bits:
        bits[words[-2]] |= 1 << record.field(words[-1])[0]
        words = words[:-2]
    return words, bits["if"], bits["unless"]


def read_step(record, word, words):
    _, has_id, allowed = STEPS[word]
    words, when, unless = read_conditions(record, words)
    templates, plain = {}, {}
    if has_id:
        need(words, "the id is missing")
        templates["id"] = template(record, words.pop(0))
    for argument in words:
        key, equals, value = argument.partition("=")
        need(equals and key in allowed.split(), f"{word} knows no {argument}")
        if key in ("kind", "shared"):
            plain[key] = value
        else:
            templates[key] = template(record, value)
    record.steps.append(Step(word, templates, plain, when, unless))


def read_field(record, words):
    need(len(words) >= 3 and NAME.match(words[0]), "field NAME TYPE [if FLAG] TEXT")
    kind, _, maximum = words[1].partition(":")
    need(kind in TYPES and kind != "flag", f"{words[1]}: no such type")
    need((kind == "string") == bool(maximum), f"{words[1]}: strings, and only these, have a maximum")
    condition = None
    if words[2] == "if":
        need(len(words) == 5, "field NAME TYPE if FLAG TEXT")
        condition = record.field(words[3])[1]
        need(condition.kind == "flag", f"{words[3]} is no flag")
    need(len(record.fields) < 32, "more than 32 fields")
    record.fields.append(Field(words[0], kind, int(maximum or 0), condition, words[-1]))


def read_record_line(module, word, words):
    need(module.records, f"{word} in front of the first record")
    record = module.records[-1]
    if word == "flag":
        need(len(words) == 3, "flag NAME BIT TEXT")
        record.fields.append(Field(words[0], "flag", int(words[1]), None, words[2]))
    elif word == "field":
        read_field(record, words)
    elif word in STEPS:
        read_step(record, word, words)
    elif word == "redis":
        record.redis.append(words[0])
    else:
        raise SpecError(f"{word}: no such word")


def read_line(modules, words):
    word, words = words[0], words[1:]
    if word == "module":
        need(not modules and len(words) == 2 and NAME.match(words[0]), "module NAME ID, once, first")
        modules.append(Module(words[0], int(words[1], 0)))
        return
    need(modules, "module NAME ID comes first")
    module = modules[0]
    if word in ("title", "about"):
        setattr(module, word, words[0])
    elif word == "column":
        need(words[0] in ("subject", "object", "detail", "bytes"), f"column {words[0]}")
        module.columns[words[0]] = words[1]
    elif word == "record":
        need(len(words) == 3 and NAME.match(words[0]), "record NAME TYPE TEXT")
        need(0 <= int(words[1]) < 0xF0, "types are 0 to 239")
        module.records.append(Record(words[0], int(words[1]), words[2]))
    else:
        read_record_line(module, word, words)


def read_spec(path):
    modules = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                read_line(modules, words)
        except (SpecError, ValueError, IndexError) as error:
            sys.exit(f"{path}:{number}: {error}")
    if not modules:
        sys.exit(f"{path}: no module")
    return modules[0]


def read_specs(paths):
    modules = sorted((read_spec(path) for path in paths), key=lambda module: module.number)
    for key in ("name", "number"):
        values = [getattr(module, key) for module in modules]
        if len(set(values)) != len(values):
            sys.exit(f"two modules have the same {key}")
    return modules


# ---- C ----

def c_struct(module, record):
    return f"gg_{module.name}_{record.name}"


def c_header(modules):
    yield "/* Generated from proto/modules/ by tools/ggspec.py. */\n#ifndef GG_MODULES_H\n#define GG_MODULES_H\n"
    yield '#include "glouglou/glouglou.h"\n\n'
    for module in modules:
        yield f"#define GG_MODULE_{module.name.upper()} 0x{module.number:02x} /* module */\n"
        for record in module.records:
            yield f"\n/* {record.name.upper()}: {record.text}. */\n"
            yield f"struct {c_struct(module, record)} {{\n"
            for field in record.fields:
                when = f" (with {field.condition.name})" if field.condition else ""
                yield f"\t{TYPES[field.kind][0]} {field.name}; /* {field.text}{when} */\n"
            yield "};\n"
            yield f"extern const struct gg_record_type *const {c_struct(module, record)}_type;\n"
            yield (f"static inline int {c_struct(module, record)}_write(struct gg_writer *writer, uint64_t time_ns,\n"
                   f"\tconst struct {c_struct(module, record)} *record)\n"
                   f"{{\n\treturn gg_record_write(writer, {c_struct(module, record)}_type, time_ns, record);\n}}\n")
        yield "\n"
    yield "/* Room for any record. */\nunion gg_any {\n"
    for module in modules:
        for record in module.records:
            yield f"\tstruct {c_struct(module, record)} {module.name}_{record.name};\n"
    yield "};\n\n"
    yield f"#define GG_MODULES {len(modules)}\nextern const struct gg_module gg_modules[GG_MODULES];\n#endif\n"


def c_template(pieces):
    rows = []
    for piece in pieces:
        if isinstance(piece, str):
            rows.append(f"{{ {json.dumps(piece)}, 0, 0 }}")
        else:
            rows.append(f"{{ NULL, {piece[0] or 0}, GG_PART_{piece[1].upper()} }}")
    return f"{{ (const struct gg_piece[]){{ {', '.join(rows)} }}, {len(rows)} }}"


def c_step(record, step):
    members = [f".kind = {STEPS[step.word][0]}"]
    if "kind" in step.plain:
        members.append(f".class = {json.dumps(step.plain['kind'])}")
    if step.plain.get("shared") == "yes":
        members.append(".shared = true")
    members += [f".{key} = {c_template(pieces)}" for key, pieces in step.templates.items()]
    members += [f".{key} = {bits:#x}" for key, bits in (("when", step.when), ("unless", step.unless)) if bits]
    return "\t{ " + ",\n\t  ".join(members) + " },\n"


def c_source(modules):
    yield '#include "gg_modules.h"\n\n'
    for module in modules:
        for record in module.records:
            name = c_struct(module, record)
            yield f"static const struct gg_field {name}_fields[] = {{\n"
            for field in record.fields:
                when = field.condition.max if field.condition else 0
                yield f'\t{{ "{field.name}", {TYPES[field.kind][1]}, offsetof(struct {name}, {field.name}), {field.max}, {when} }},\n'
            yield "};\n"
            yield f"static const struct gg_step {name}_steps[{max(len(record.steps), 1)}] = {{\n"
            yield from (c_step(record, step) for step in record.steps)
            yield "};\n"
            yield "\n"
        yield f"static const struct gg_record_type {module.name}_records[] = {{\n"
        for record in module.records:
            name = c_struct(module, record)
            yield f'\t{{ "{record.name}", {record.number}, {len(record.fields)}, {len(record.steps)}, {name}_fields, {name}_steps }},\n'
        yield "};\n"
        for index, record in enumerate(module.records):
            yield f"const struct gg_record_type *const {c_struct(module, record)}_type = &{module.name}_records[{index}];\n"
        yield "\n"
    yield "const struct gg_module gg_modules[GG_MODULES] = {\n"
    for module in modules:
        yield f'\t{{ "{module.name}", {module.number}, {len(module.records)}, {module.name}_records }},\n'
    yield "};\n"


# ---- the console ----

def typescript(modules):
    table = [{
        "name": module.name, "id": module.number, "title": module.title, "about": module.about, "columns": module.columns,
        "events": [{"name": record.name, "text": record.text} for record in module.records if any(s.word == "row" for s in record.steps)],
        "nodes": sorted({s.plain["kind"] for r in module.records for s in r.steps if s.word == "node"}),
        "edges": sorted({s.plain["kind"] for r in module.records for s in r.steps if s.word == "edge"}),
    } for module in modules]
    yield "// Generated from proto/modules/ by tools/ggspec.py; do not edit.\n"
    yield ("export interface LiveModule {\n  readonly name: string;\n  readonly id: number;\n  readonly title: string;\n  readonly about: string;\n"
           "  readonly columns: { readonly subject?: string; readonly object?: string; readonly detail?: string; readonly bytes?: string };\n"
           "  readonly events: readonly { readonly name: string; readonly text: string }[];\n"
           "  readonly nodes: readonly string[];\n  readonly edges: readonly string[];\n}\n\n")
    yield f"export const liveModules: readonly LiveModule[] = {json.dumps(table, indent=2)};\n"


# ---- the reference page ----

def document(modules):
    yield "# Modules of glouglou\n\nGenerated from `proto/modules/` by `tools/ggspec.py`. Types and the way on the wire: [glouglou.md](../proto/glouglou.md).\n"
    for module in modules:
        yield f"\n## {module.title}: module `{module.name}`, 0x{module.number:02x}\n\n{module.about}\n"
        for record in module.records:
            yield f"\n### {record.name.upper()}, type {record.number}: {record.text}\n\n| field | type | what |\n|---|---|---|\n"
            for field in record.fields:
                kind = f"flag {field.max}" if field.kind == "flag" else f"{field.kind}:{field.max}" if field.max else field.kind
                when = f", if `{field.condition.name}`" if field.condition else ""
                yield f"| {field.name} | `{kind}`{when} | {field.text} |\n"
            yield from (f"\nRedis: `{command}`\n" for command in record.redis)


def documents(modules):
    return {ROOT / "web/src/live/modules.generated.ts": "".join(typescript(modules)), ROOT / "docs/modules.md": "".join(document(modules))}


def main(arguments):
    if arguments[:1] == ["--c"]:
        header, source, *specs = arguments[1:]
        modules = read_specs(specs)
        Path(header).write_text("".join(c_header(modules)))
        Path(source).write_text("".join(c_source(modules)))
        return 0
    stale = 0
    for path, text in documents(read_specs(sorted(ROOT.glob("proto/modules/*.ggspec")))).items():
        if arguments == ["--check"]:
            if not path.is_file() or path.read_text() != text:
                print(f"{path.relative_to(ROOT)} is not current: run tools/ggspec.py")
                stale = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
