"""What the log says of a replica that is ready: what serves, and with which limits. Pure."""

from typing import Any

from frontend.config import GIB
from ipc.messages import Launch, ModelCard, TextCard, TextOptions

_BATCHING = "text"  # the engine that has a KV cache of its own; others keep it in the model, or have none


def announcement(card: ModelCard, launch: Launch[Any], *, tuned: bool = False) -> str:
    """One line. What the host does not report is left out. `tuned`: with what `nacelle tune` found."""
    facts = [f"context {card.context_length:,} tokens"]
    options = launch.options
    has_cache = isinstance(options, TextOptions) and launch.engine == _BATCHING
    if isinstance(card, TextCard) and has_cache:
        size = f"{options.kv_cache_bytes / GIB:.2g} GiB ({card.kv_cache_tokens:,} tokens)"
        facts.append(f"KV cache up to {size}")
    if card.threads:
        facts.append(f"{card.threads} thread{'s' * (card.threads > 1)}")
    if card.weights:
        facts.append(f"weights {card.weights}")
    facts.append(f"loaded in {card.load_seconds:.1f} s")
    if tuned:
        facts.append("tuned")
    facts += [f"{name}={value}" for name, value in card.properties.items()]
    return f"{card.device_name}: {', '.join(facts)}"
