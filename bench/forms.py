"""Encodes multipart forms with one file."""

from collections.abc import Mapping

BOUNDARY = "nacelle-bench-3f6a1c0e9d"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def encode_form(fields: Mapping[str, str], file_name: str, file: bytes) -> bytes:
    """The body of a form whose `file` comes last. Raises ValueError if the file holds the boundary."""
    if BOUNDARY.encode() in file:
        raise ValueError("the file contains the boundary of the form")
    quoted = file_name.replace('"', "_")
    parts = [_head(f'name="{name}"') + value.encode() + b"\r\n" for name, value in fields.items()]
    head = _head(f'name="file"; filename="{quoted}"', "Content-Type: application/octet-stream\r\n")
    return b"".join([*parts, head, file, f"\r\n--{BOUNDARY}--\r\n".encode()])


def _head(disposition: str, more: str = "") -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\n".encode()
