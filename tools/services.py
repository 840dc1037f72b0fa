#!/usr/bin/python3
"""Makes services.h and services.c from a protoc descriptor set: one struct rpc_method for each method of each service."""
import sys

from google.protobuf import descriptor_pb2


def main(descriptor_set, header, source):
    files = descriptor_pb2.FileDescriptorSet()
    with open(descriptor_set, "rb") as f:
        files.ParseFromString(f.read())
    names, rows, includes = [], [], []
    for proto in files.file:
        if proto.package != "murmesh":
            continue
        includes.append(proto.name.replace(".proto", ".pb.h"))
        for service in proto.service:
            for method in service.method:
                name = f"rpc_{service.name}_{method.name}"
                request, response = ("murmesh_" + t.rsplit(".", 1)[1] for t in (method.input_type, method.output_type))
                names.append(name)
                rows.append(
                    f"const struct rpc_method {name} = {{\n"
                    f'\t"/murmesh.{service.name}/{method.name}",\n'
                    f"\t&{request}_msg, sizeof({request}),\n\t&{response}_msg, sizeof({response}),\n"
                    f"\t{str(method.client_streaming).lower()}, {str(method.server_streaming).lower()} }};\n")
    with open(header, "w") as f:
        f.write("/* Generated from proto/ by tools/services.py. */\n#ifndef SERVICES_H\n#define SERVICES_H\n#include \"rpc/method.h\"\n")
        f.writelines(f'#include "{i}"\n' for i in includes)
        f.writelines(f"extern const struct rpc_method {n};\n" for n in names)
        f.write("#endif\n")
    with open(source, "w") as f:
        f.write('#include "services.h"\n\n' + "\n".join(rows))


main(*sys.argv[1:])
