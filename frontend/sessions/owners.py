"""Where the store keeps what belongs to whom: each caller finds its own entries, and no others.

Without keys, all callers are one.
"""

import hashlib

from frontend.access.sight import sight


def owned_key(kind: str, name: str) -> str:
    """The key of an entry of whoever asks; `name` may be the client's choice."""
    owner = sight().caller.key_id
    if owner is None:
        return f"{kind}:{name}"
    # A digest, because an id may hold any character: none can make it the key of another owner's entry.
    return f"{kind}@{hashlib.sha256(owner.encode(errors='surrogatepass')).hexdigest()}:{name}"
