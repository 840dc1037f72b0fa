#!/usr/bin/python3
"""Makes the console's typed client from the API's description: api_client.py OPENAPI > web/src/api.generated.ts

OPENAPI is what `build/bin/openapi` prints.  A test (tests/unit_tools/test_api_client.py) checks that the file in the tree is current.
"""
import json
import re
import sys

HEAD = """// Made by tools/api_client.py from the server's table of routes: do not edit.

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
/** Sends one request and gives back its parsed answer. */
export type Call = <T>(method: Method, path: string, body?: unknown) => Promise<T>;
"""


def inline(name):
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f"'{name}'"


def type_of(schema):
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[1]
    if "oneOf" in schema:
        return " | ".join(map(type_of, schema["oneOf"]))
    if "enum" in schema:
        return " | ".join(f"'{word}'" for word in schema["enum"])
    kind = schema["type"]
    if kind == "array":
        inner = type_of(schema["items"])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if kind == "object":
        required = schema["required"]
        fields = [f"{inline(name)}{'' if name in required else '?'}: {type_of(one)}" for name, one in schema["properties"].items()]
        return f"{{ {'; '.join(fields)} }}" if fields else "Record<string, never>"
    return {"string": "string", "boolean": "boolean", "integer": "number", "number": "number", "null": "null"}[kind]


def component(name, schema):
    if schema.get("type") != "object":
        return f"export type {name} =\n" + "\n".join(f"\t| {type_of(one)}" for one in schema["oneOf"]) + ";\n"
    required = schema["required"]
    fields = "".join(f"\t{inline(key)}{'' if key in required else '?'}: {type_of(one)};\n" for key, one in schema["properties"].items())
    return f"export interface {name} {{\n{fields}}}\n"


def answer_of(operation):
    done = operation["responses"].get("200")
    return type_of(done["content"]["application/json"]["schema"]) if done else "undefined"


def function(method, path, operation):
    arguments, place, body = [], f"'{path}'", None
    if "{id}" in path:
        arguments.append("id: string")
        place = f"`{path.replace('{id}', '${id}')}`"
    query = [one for one in operation["parameters"] if one["in"] == "query"]
    if query:
        fields = "; ".join(f"{one['name']}{'' if one['required'] else '?'}: {type_of(one['schema'])}" for one in query)
        arguments.append(f"query: {{ {fields} }} = {{}}")
        place = f"withQuery({place}, query)"
    if "requestBody" in operation:
        body = type_of(operation["requestBody"]["content"]["application/json"]["schema"])
        arguments.append(f"body: {body}")
    words = f"call<{answer_of(operation)}>('{method.upper()}', {place}{', body' if body else ''})"
    where = " of all groups" if operation["x-everywhere"] else ""
    proof = ", with a fresh proof" if operation["x-step-up"] else ""
    needs = f" ({operation['x-right']}{where}{proof})" if operation["x-right"] else ""
    return f"\t\t/** {operation['summary']}{needs}. */\n\t\t{operation['operationId']}: ({', '.join(arguments)}) =>\n\t\t\t{words},\n"


QUERY = """
function withQuery(path: string, query: Record<string, string | number | undefined>): string {
	const words = new URLSearchParams();
	for (const [name, value] of Object.entries(query)) if (value !== undefined) words.set(name, String(value));
	const text = words.toString();
	return text ? `${path}?${text}` : path;
}
"""


def main(path):
    with open(path, encoding="utf-8") as f:
        document = json.load(f)
    parts = [HEAD] + [component(name, schema) for name, schema in document["components"]["schemas"].items()]
    calls = [function(method, path, operation) for path, methods in document["paths"].items() for method, operation in methods.items()]
    sys.stdout.write("\n".join(parts) + QUERY + "\nexport function client(call: Call) {\n\treturn {\n" + "".join(calls) + "\t};\n}\n")


main(sys.argv[1])
