"""Content blocks of requests as parts of messages. Pure."""

from collections.abc import Iterator, Sequence

import msgspec

from frontend.api.schema.common import required
from frontend.api.schema.messages import BlockBody, SourceBody
from frontend.errors import BadRequest
from frontend.media.data_url import as_data_url, data_characters
from frontend.media.given import GivenImages, joined_text
from ipc.messages import ContentPart, MediaPart, TextPart

# A block, and the request's field that holds it.
Placed = tuple[str, BlockBody]
Content = str | list[BlockBody]

# Begins a line in Claude Code's system prompt that is not meant for the model. It differs in every request,
# so that nothing after it would be found in the KV cache.
_BILLING = "x-anthropic-billing-header:"
_OF_TEXT = ("text", "compaction")  # the latter is a summary of what came before
_SUBJECT = "the string"


def placed(content: Content, where: str) -> list[Placed]:
    """The blocks of a message or a result. `where` is the field of the content."""
    if isinstance(content, str):
        return [(where, BlockBody("text", text=content))]
    return [(f"{where}[{index}]", block) for index, block in enumerate(content)]


def text_of(blocks: Sequence[Placed]) -> str:
    """Raises BadRequest for what is not text."""
    return "\n".join(text for where, block in blocks if (text := _text(block, where)))


def system_text(content: Content, where: str) -> str:
    """Raises BadRequest for what is not text."""
    return _without_billing(text_of(placed(content, where)))


def content_of(blocks: Sequence[Placed], given: GivenImages) -> str | list[ContentPart]:
    """Text parts alone are joined; with images, which are added to `given`, all keep their order.

    Raises BadRequest naming a block that cannot be shown to the model.
    """
    return joined_text([part for where, block in blocks for part in _parts(block, where, given)])


def result_of(block: BlockBody, where: str, given: GivenImages) -> str | list[ContentPart]:
    """The content of a tool's result. That of an error begins with `Error:`, unless it names the error."""
    content = block.content
    if isinstance(content, dict):
        raise BadRequest(f"{where}.content: must be text or a list of blocks", f"{where}.content")
    shown = content_of(placed(content or [], f"{where}.content"), given)
    if not block.is_error:
        return shown
    first = shown if isinstance(shown, str) else next((p.text for p in shown if isinstance(p, TextPart)), "")
    if "error" in first[:40].lower():
        return shown
    return f"Error: {shown}".rstrip() if isinstance(shown, str) else [TextPart("Error:"), *shown]


def foreign_result_of(block: BlockBody) -> str:
    """The result of a tool that Anthropic's servers ran, in a conversation that was begun there."""
    content = block.content
    if isinstance(content, list):
        lines = (part.text or "\n".join(filter(None, (part.title, part.url))) for part in content)
        return "\n".join(line for line in lines if line)
    return content if isinstance(content, str) else msgspec.json.encode(content or {}).decode()


def _without_billing(text: str) -> str:
    if _BILLING not in text:
        return text
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(_BILLING))


def _text(block: BlockBody, where: str) -> str:
    if block.type not in _OF_TEXT:
        raise BadRequest(f"{where}.type: {block.type[:40]!r} is not supported here", f"{where}.type")
    if block.type == "compaction":
        return block.content if isinstance(block.content, str) else ""
    return required(block.text, f"{where}.text")


def _parts(block: BlockBody, where: str, given: GivenImages) -> list[ContentPart]:
    match block.type:
        case "image":
            return [_image(_source(block, where), where, given)]
        case "document":
            return _document(block, where, given)
        case "search_result":
            source = block.source if isinstance(block.source, str) else None
            found = block.content if isinstance(block.content, list) else []
            texts = [_text(part, place) for place, part in placed(found, f"{where}.content")]
            return _text_parts([block.title, source, *texts])
        case "tool_reference":
            return _text_parts([required(block.tool_name, f"{where}.tool_name")])
    return _text_parts([_text(block, where)])


def _text_parts(texts: Sequence[str | None]) -> list[ContentPart]:
    kept = [text for text in texts if text]
    return [TextPart("\n".join(kept))] if kept else []


def _source(block: BlockBody, where: str) -> SourceBody:
    if not isinstance(block.source, SourceBody):
        raise BadRequest(f"{where}.source is missing", f"{where}.source")
    return block.source


def _image(source: SourceBody, where: str, given: GivenImages) -> MediaPart:
    match source.type:
        case "base64":
            field = f"{where}.source.data"
            return given.part(as_data_url(required(source.data, field)), None, where, field, _SUBJECT)
        case "url":
            field = f"{where}.source.url"
            return given.part(required(source.url, field), None, where, field)
    raise _refused(source, where, "use base64 or url")


def _document(block: BlockBody, where: str, given: GivenImages) -> list[ContentPart]:
    source = _source(block, where)
    head = _text_parts([block.title, block.context])
    match source.type:
        case "text":
            return [*head, *_text_parts([required(source.data, f"{where}.source.data")])]
        case "content":
            inner = placed(source.content or [], f"{where}.source.content")
            return [*head, *(part for place, one in inner for part in _parts(one, place, given))]
    what = "send the document's text" if source.type == "file" else "PDF is not read here; send its text"
    raise _refused(source, where, what)


def _refused(source: SourceBody, where: str, instead: str) -> BadRequest:
    field = f"{where}.source.type"
    return BadRequest(f"{field}: {source.type[:40]!r} is not supported by this server: {instead}", field)


def image_characters(contents: Sequence[Content]) -> int:
    """How much of a body is images in base64."""
    return sum(_carried(block) for content in contents for block in _all_blocks(content))


def _carried(block: BlockBody) -> int:
    source = block.source
    if block.type != "image" or not isinstance(source, SourceBody):
        return 0
    return len(source.data or "") + data_characters(source.url or "")


def _all_blocks(content: object) -> Iterator[BlockBody]:
    for block in content if isinstance(content, list) else ():
        yield block
        yield from _all_blocks(block.content)
        if isinstance(block.source, SourceBody):
            yield from _all_blocks(block.source.content)
