"""Regular expressions of the schemas, each with the words that an error says in its place."""

SESSION_ID = r"^[\x21-\x7e]+\Z"
TOOL_NAME = r"^[A-Za-z0-9_.\-]{1,128}\Z"

WORDS = {
    SESSION_ID: "1 to 200 ASCII characters without blanks",
    TOOL_NAME: "1 to 128 letters, digits, _, . or -",
}
