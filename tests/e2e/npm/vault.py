"""An MCP server of one tool, on its standard streams. Arguments: a secret, and the file for its calls."""

import json
import sys
from pathlib import Path
from typing import Any

REVEAL = {
    "name": "reveal",
    "description": "What is in a drawer.",
    "inputSchema": {"type": "object", "properties": {"drawer": {"type": "string"}}, "required": ["drawer"]},
}


def main(secret: str, calls: Path) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            result = answer(message["method"], message.get("params", {}), secret, calls)
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


def answer(method: str, params: dict[str, Any], secret: str, calls: Path) -> dict[str, Any]:
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "vault", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": [REVEAL]}
    if method == "tools/call":
        with calls.open("a") as file:
            file.write(json.dumps([params["name"], params["arguments"]]) + "\n")
        return {"content": [{"type": "text", "text": secret}]}
    return {}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
