"""Reads the files that a user attaches to a message."""

import base64
from pathlib import Path

from frontend.cli.running.conversation import Attachment
from frontend.shortened import shown_path

MAX_TEXT_BYTES = 4 * 1024**2
MAX_IMAGE_BYTES = 20 * 1024**2  # the server's default limit
_IMAGES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}


class BadAttachment(Exception):
    """A file that cannot be sent. The message is one line and names it."""


def read_attachment(path: str) -> Attachment:
    """An image, recognized by its first bytes, or a text in UTF-8. Raises BadAttachment."""
    content = _read(path)
    kind = image_type(content)
    return _image(path, content, kind) if kind else _text(path, content)


def read_image(path: str) -> Attachment:
    """Raises BadAttachment."""
    content = _read(path)
    kind = image_type(content)
    if not kind:
        raise BadAttachment(f"{shown_path(path)} is not a PNG, JPEG, GIF, BMP or WebP image")
    return _image(path, content, kind)


def image_type(content: bytes) -> str:
    """The media type of an image; empty for anything else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _IMAGES.items() if content.startswith(start)), "")


def _read(path: str) -> bytes:
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(MAX_IMAGE_BYTES + 1)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadAttachment(f"cannot read {shown_path(path)}: {reason}") from error
    if len(content) > MAX_IMAGE_BYTES:
        raise BadAttachment(f"{shown_path(path)} is larger than {MAX_IMAGE_BYTES // 1024**2} MiB")
    return content


def _image(path: str, content: bytes, kind: str) -> Attachment:
    return Attachment(Path(path).name, image=f"data:{kind};base64,{base64.b64encode(content).decode()}")


def _text(path: str, content: bytes) -> Attachment:
    if len(content) > MAX_TEXT_BYTES:
        raise BadAttachment(f"{shown_path(path)} is larger than {MAX_TEXT_BYTES // 1024**2} MiB of text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadAttachment(f"{shown_path(path)} is neither text in UTF-8 nor an image")
    if not text.strip():
        raise BadAttachment(f"{shown_path(path)} is empty")
    return Attachment(Path(path).name, text=text.rstrip("\n"))
