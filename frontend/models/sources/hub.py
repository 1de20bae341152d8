"""Lists a repository of a model hub with huggingface_hub, and opens its files for `transfer`.

HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE and the token of `hf auth login` apply. The files are transferred by us,
because huggingface_hub does not compare checksums.
"""

import os
import time
from collections.abc import Callable
from email.message import Message
from typing import TYPE_CHECKING, Any

from frontend.models.errors import SourceError
from frontend.models.sources.asked import endpoint
from frontend.models.sources.listing import Listed, Listing
from frontend.models.sources.retries import (
    TRANSIENT_STATUSES,
    Patience,
    Transient,
    Unreachable,
    patiently,
    retry_after,
)
from frontend.models.sources.spec import HubRepository
from frontend.models.sources.transfer import Digest, Expected, Open
from frontend.models.sources.web import open_url

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_TIMEOUT_SECONDS = 30.0
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_LOGIN = "set HF_TOKEN to a token that may read it"


class Hub:
    """The hub that the environment configures. Imports huggingface_hub on first use."""

    def __init__(self, patience: Patience | None = None) -> None:
        self._patience = patience
        self._loaded: HfApi | None = None

    def listing(self, source: HubRepository, on_note: Callable[[str], None] = lambda _: None) -> Listing:
        """A repository at the commit that the revision names now. Raises SourceError with a remedy."""
        return patiently(lambda: self._listing(source), on_note, self._patience)

    def _api(self) -> "HfApi":
        if self._loaded is None:
            os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
            from huggingface_hub import HfApi

            self._loaded = HfApi(endpoint=endpoint(), library_name="nacelle")
        return self._loaded

    def _listing(self, source: HubRepository) -> Listing:
        api = self._api()
        from huggingface_hub import constants
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        if constants.HF_HUB_OFFLINE:
            raise SourceError("HF_HUB_OFFLINE is set, so the hub is not asked; unset it to pull")
        try:
            info = api.model_info(
                source.repository,
                revision=source.revision or None,
                files_metadata=True,
                timeout=_TIMEOUT_SECONDS,
            )
        except OfflineModeIsEnabled as error:
            raise SourceError(str(error)) from error
        except HFValidationError as error:
            raise SourceError(
                f"{source.repository} is not a valid name of a repository; write ORG/NAME"
            ) from error
        except HfHubHTTPError as error:
            raise _explained(error, source) from error
        except Exception as error:  # of the HTTP library of huggingface_hub, which has changed before
            raise Unreachable(f"no connection to {endpoint()}: {_last_line(error)}") from error
        return _listing_of(source, info)


def _listing_of(source: HubRepository, info: Any) -> Listing:
    repository, commit = info.id or source.repository, info.sha or ""
    files = {}
    for sibling in info.siblings or []:
        name = sibling.rfilename
        size = sibling.lfs["size"] if sibling.lfs else sibling.size
        expected = Expected(size, _digest_of(sibling), f"{commit}/{name}")
        files[name] = Listed(size or 0, expected, _opened(repository, commit, name))
    gguf = info.gguf if isinstance(info.gguf, dict) else {}
    architecture = str(gguf.get("architecture") or "")
    return Listing(source.repository, commit, files, _licence_of(info.card_data), architecture)


def _digest_of(sibling: Any) -> Digest | None:
    """The SHA-256 of large files; of others, the hash that git computes."""
    if sibling.lfs:
        return Digest("sha256", sibling.lfs["sha256"])
    return Digest("git", sibling.blob_id) if sibling.blob_id else None


def _licence_of(card: Any) -> str:
    found = (getattr(card, "license_name", None) or getattr(card, "license", None)) if card else None
    return found if isinstance(found, str) else ""


def _opened(repository: str, commit: str, name: str) -> Open:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils._headers import build_hf_headers

    url = hf_hub_url(repository, name, revision=commit, endpoint=endpoint())
    headers = build_hf_headers(library_name="nacelle")
    return open_url(url, headers, lambda code, found: explain_status(code, found, repository))


def _explained(error: Any, source: HubRepository) -> Exception:
    response = getattr(error, "response", None)
    status = response.status_code if response is not None else 0
    headers = Message()
    for name, value in (response.headers if response is not None else {}).items():
        headers[name] = value
    if status in TRANSIENT_STATUSES:
        after = retry_after(headers.get("Retry-After"), time.time())
        return Transient(f"{endpoint()} answered with status {status}", after)
    remedy = explain_status(status, headers, source.repository, source.revision)
    return SourceError(f"{endpoint()} answered with status {status}: {remedy or _last_line(error)}")


def explain_status(status: int, headers: Message, repository: str, revision: str = "") -> str:
    """The remedy for a status of the hub; empty if none is known."""
    kind = headers.get("X-Error-Code", "")
    if kind == "GatedRepo":
        page = f"{endpoint()}/{repository}"
        return f"{repository} is gated: accept its terms at {page}, then {_LOGIN}"
    if kind == "RevisionNotFound":
        return f"{repository} has no revision {revision or 'of that name'}; correct --revision"
    if kind == "EntryNotFound":
        return f"{repository} has no such file"
    if kind == "RepoNotFound" or status in (_UNAUTHORIZED, _NOT_FOUND):
        return f"there is no repository {repository}, or it is private: correct its name, or {_LOGIN}"
    if status == _FORBIDDEN:
        return f"the token may not read {repository}; {_LOGIN}"
    return ""


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
