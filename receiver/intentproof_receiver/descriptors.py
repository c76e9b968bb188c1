"""Protobuf messages of our own for OTLP's wire format, where its own would read more than we do."""

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool

_Field = descriptor_pb2.FieldDescriptorProto
BYTES, BOOL = _Field.TYPE_BYTES, _Field.TYPE_BOOL
INT32, UINT32, INT64 = _Field.TYPE_INT32, _Field.TYPE_UINT32, _Field.TYPE_INT64
FIXED32, FIXED64, DOUBLE = _Field.TYPE_FIXED32, _Field.TYPE_FIXED64, _Field.TYPE_DOUBLE

# (name, number, type): the name of a message, in a list where it is repeated; or a scalar type.
Field = tuple[str, int, Any]


def find_message(package: str, name: str, messages: Mapping[str, Sequence[Field]]) -> Any:
    """The descriptor of the message `name`, in a pool of its own.

    Of a message whose name begins with `One`, at most one field is set.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    for message, fields in messages.items():
        added = file.message_type.add(name=message)
        if message.startswith("One"):
            added.oneof_decl.add(name="one")
        for field, number, kind in fields:
            repeated = isinstance(kind, list)
            plain = kind[0] if repeated else kind
            one = added.field.add(
                name=field,
                number=number,
                label=_Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL,
                type=_Field.TYPE_MESSAGE if isinstance(plain, str) else plain,
            )
            if isinstance(plain, str):
                one.type_name = f".{package}.{plain}"
            if message.startswith("One"):
                one.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindMessageTypeByName(f"{package}.{name}")
