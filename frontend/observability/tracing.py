"""Turns traces on, where a setting asks for them."""

import importlib.util

from frontend.config import ConfigError, Settings
from frontend.observability.traces import Tracing


def check_tracing(settings: Settings) -> None:
    """Raises ConfigError if traces are on and their libraries are not installed."""
    if not _is_on(settings):
        return
    name = "otel" if settings.otel else "otel_endpoint"
    for module in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
        if not _is_installed(module):
            raise ConfigError(f"{name}: OpenTelemetry is not installed; install nacelle-server[otel]")


def open_tracing(settings: Settings) -> Tracing | None:
    """None if traces are off, as they are unless a setting turns them on."""
    if not _is_on(settings):
        return None
    from frontend.observability.otel import open_otel

    return open_otel(settings.otel_endpoint, settings.otel_prompts)


def _is_on(settings: Settings) -> bool:
    return settings.otel or settings.otel_endpoint is not None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor is the package around it
        return False
