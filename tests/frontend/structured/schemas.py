"""JSON schemas like those of real clients, small enough that any model finishes its output."""

from typing import Any


def obj(**properties: Any) -> dict[str, Any]:
    """A schema of objects with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


WORD = {"type": "string", "pattern": "^[a-z]{1,8}$"}
TITLE = {"type": "string", "minLength": 1, "maxLength": 20}
SMALL = {"type": "integer", "minimum": 0, "maximum": 99}
FLAG = {"type": "boolean"}
COLOUR = {"enum": ["red", "green", "blue"]}
MONEY = {"type": "number", "minimum": 0, "exclusiveMaximum": 1000}
NULL = {"type": "null"}

# As Zod writes it.
MAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"


def tagged(kind: str, **properties: Any) -> dict[str, Any]:
    """The schema that Pydantic generates for a class whose tag has a default."""
    tag = {"const": kind, "default": kind, "title": "Kind", "type": "string"}
    return {"type": "object", "properties": {**properties, "kind": tag}, "required": list(properties)}


SCHEMAS: dict[str, dict[str, Any]] = {
    "one string": obj(name=TITLE),
    "one integer": obj(age={"type": "integer"}),
    "one number": obj(value={"type": "number"}),
    "weather": obj(city=WORD, celsius={"type": "number", "minimum": -60, "maximum": 60}, rain=FLAG),
    "person": obj(first_name=WORD, last_name=WORD, age={"type": "integer", "minimum": 0, "maximum": 130}),
    "nested objects": obj(
        user=obj(name=WORD, address=obj(street=WORD, zip={"type": "string", "pattern": "^\\d{5}$"}))
    ),
    "three levels of arrays": {
        "type": "array",
        "maxItems": 2,
        "items": {"type": "array", "maxItems": 2, "items": {"type": "array", "maxItems": 2, "items": SMALL}},
    },
    "array with bounds": obj(scores={"type": "array", "items": SMALL, "minItems": 2, "maxItems": 4}),
    "array of objects": {
        "type": "array",
        "items": obj(id=SMALL, colour=COLOUR),
        "minItems": 1,
        "maxItems": 3,
    },
    "empty array": {"type": "array", "maxItems": 0},
    "enum": COLOUR,
    "enum of all types": {"enum": ["a", 1, 2.5, True, None, [1, "x"], {"k": "v"}]},
    "enum with odd strings": {"enum": ['quote " here', "back\\slash", "new\nline", "é", "😀", "a/b", ""]},
    "const": obj(kind={"const": "circle"}, radius=SMALL),
    "const object": {"const": {"a": [1, {"b": None}], "c": 1.5}},
    "anyOf": obj(id={"anyOf": [SMALL, WORD]}),
    "oneOf by type": obj(value={"oneOf": [{"type": "boolean"}, SMALL, WORD]}),
    "discriminated union": {
        "oneOf": [obj(kind={"const": "dog"}, barks=FLAG), obj(kind={"const": "cat"}, lives=SMALL)],
    },
    "union by properties": {"oneOf": [obj(error=WORD), obj(result=SMALL)]},
    "nullable": obj(nickname={"type": ["string", "null"], "maxLength": 10}, parent={"anyOf": [SMALL, NULL]}),
    "optional properties": {
        "type": "object",
        "properties": {"a": SMALL, "b": WORD, "c": FLAG, "d": COLOUR},
        "required": ["b"],
        "additionalProperties": False,
    },
    "all optional": {"type": "object", "properties": {"x": SMALL, "y": SMALL}},
    "at least one of all": {
        "type": "object",
        "properties": {"mail": WORD, "phone": SMALL, "post": WORD},
        "minProperties": 1,
        "maxProperties": 2,
    },
    "pattern": obj(code={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}),
    "pattern of alternatives": obj(
        version={"type": "string", "pattern": "^v?(0|[1-9]\\d?)\\.\\d{1,2}(-(alpha|beta))?$"}
    ),
    "pattern without anchors": obj(word={"type": "string", "pattern": "ee", "maxLength": 12}),
    "pattern with any character": obj(note={"type": "string", "pattern": "^.{3,9}\\?$"}),
    "pattern and length": obj(
        tag={"type": "string", "pattern": "^[a-z]+(_[a-z]+)*$", "minLength": 3, "maxLength": 12}
    ),
    "long text": obj(summary={"type": "string", "maxLength": 80}),
    "integer bounds": obj(
        a={"type": "integer", "minimum": -5, "maximum": 5}, b={"type": "integer", "exclusiveMinimum": 1000}
    ),
    "number bounds": obj(price=MONEY, share={"type": "number", "minimum": 0, "maximum": 1}),
    "narrow number": obj(p={"type": "number", "exclusiveMinimum": 0.25, "exclusiveMaximum": 0.3}),
    "negative number": obj(debt={"type": "number", "maximum": -0.5, "minimum": -20.75}),
    "multiples": obj(five={"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 500}),
    "dates": obj(day={"type": "string", "format": "date"}, at={"type": "string", "format": "date-time"}),
    "time and duration": obj(
        at={"type": "string", "format": "time"}, last={"type": "string", "format": "duration"}
    ),
    "addresses": obj(mail={"type": "string", "format": "email"}, v4={"type": "string", "format": "ipv4"}),
    "uuid and ipv6": obj(id={"type": "string", "format": "uuid"}, v6={"type": "string", "format": "ipv6"}),
    "definitions": {
        "$defs": {"point": obj(x=SMALL, y=SMALL)},
        **obj(start={"$ref": "#/$defs/point"}, end={"$ref": "#/$defs/point"}),
    },
    "reference with description": {
        "definitions": {"colour": COLOUR},
        **obj(colour={"$ref": "#/definitions/colour", "description": "of the wall"}),
    },
    "linked list": {
        "$defs": {"node": obj(value=SMALL, next={"anyOf": [NULL, {"$ref": "#/$defs/node"}]})},
        "$ref": "#/$defs/node",
    },
    "tree": obj(name=WORD, children={"type": "array", "items": {"$ref": "#"}, "maxItems": 1}),
    "tuple": {"type": "array", "prefixItems": [WORD, SMALL, FLAG], "items": False},
    "tuple with more": {"type": "array", "prefixItems": [WORD], "items": SMALL, "maxItems": 3},
    "unique enum items": {"type": "array", "items": COLOUR, "uniqueItems": True, "minItems": 1},
    "unique booleans": {"type": "array", "items": FLAG, "uniqueItems": True, "minItems": 1},
    "unique items that are one": {"type": "array", "items": WORD, "uniqueItems": True, "maxItems": 1},
    "address with a length": obj(url={"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083}),
    "formats with short lengths": obj(
        url={"type": "string", "format": "uri", "minLength": 15, "maxLength": 40},
        mail={"type": "string", "format": "email", "maxLength": 20},
        host={"type": "string", "format": "hostname", "maxLength": 12},
    ),
    "slug": obj(slug={"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$", "maxLength": 50}),
    "mail with lookaheads": obj(mail={"type": "string", "format": "email", "pattern": MAIL}),
    "decimal": obj(price={"type": "string", "pattern": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$", "maxLength": 12}),
    "password": obj(key={"type": "string", "pattern": "^(?=.*[A-Z])(?=.*\\d)[a-zA-Z\\d]{6,12}$"}),
    "tagged union with defaults": {
        "$defs": {"cat": tagged("cat", lives=SMALL), "dog": tagged("dog"), "fox": tagged("fox")},
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in ("cat", "dog", "fox")],
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: f"#/$defs/{kind}" for kind in ("cat", "dog", "fox")},
        },
    },
    "tags within tags": {
        "oneOf": [
            {"oneOf": [tagged("cat"), tagged("dog")]},
            {"type": "object", "properties": {"n": SMALL, "kind": {"enum": ["a", "b"]}}},
        ]
    },
    "fractions of two": obj(
        stars={"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 5},
        quarters={"type": "number", "multipleOf": 0.25},
    ),
    "map": {
        "type": "object",
        "propertyNames": {"pattern": "^[a-z]{1,6}$"},
        "additionalProperties": SMALL,
        "minProperties": 1,
        "maxProperties": 3,
    },
    "map with long names": {
        "type": "object",
        "propertyNames": {"maxLength": 200},
        "additionalProperties": FLAG,
        "maxProperties": 1,
    },
    "map with named ones": {
        "type": "object",
        "properties": {"id": SMALL},
        "required": ["id"],
        "propertyNames": {"maxLength": 6},
        "additionalProperties": FLAG,
        "maxProperties": 3,
    },
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^x_[a-z]{1,4}$": SMALL},
        "additionalProperties": False,
        "maxProperties": 2,
    },
    "allOf": {
        "$defs": {"base": {"type": "object", "properties": {"id": SMALL}, "required": ["id"]}},
        "allOf": [
            {"$ref": "#/$defs/base"},
            {"properties": {"name": WORD, "id": {"minimum": 10}}, "required": ["name"]},
        ],
    },
    "required alternatives": {
        "type": "object",
        "properties": {"mail": WORD, "phone": SMALL},
        "additionalProperties": False,
        "anyOf": [{"required": ["mail"]}, {"required": ["phone"]}],
    },
}
