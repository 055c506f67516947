"""Talking to the Hub: the client, how long to keep trying, and its errors in one line.

Belongs here: what reading and publishing share. `huggingface_hub` retries some calls and not others (neither
`dataset_info` nor the commit itself), so every call goes through `Hub.call`.
Does not: what is asked (`sources`, `hub_target`) and the transfer of one file (`download`).
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from httpx2 import Client, HTTPError, Response, Timeout, TransportError
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from nemo_assets.errors import UserError
from nemo_assets.hub.transfers import pause

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Result = TypeVar("Result")

DEFAULT_ENDPOINT = "https://huggingface.co"
_SILENCE_SECONDS = 30.0  # without a byte; a transfer that moves may take as long as it likes
ANSWER_SECONDS = 120.0  # until an answer begins; the Hub itself gives up on a commit after 60 s
_FULL = re.compile(r"storage|quota", re.IGNORECASE)  # what the reason of a refusal says when there is no room left
_limiting = threading.Lock()
TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Retry:
    """How long to keep trying; waits are seconds and double from `first_wait` up to `longest_wait`.

    Each is shortened by up to half, and one that the server asks for lengthened by up to `first_wait`, both at random,
    so that transfers that failed together do not come back together.

    `attempts` are failures in a row before giving up: few for a question, so that a missing network is told within
    15 s; more (`download_attempts`) for a commit, and for a download, whose count starts again whenever bytes arrive.
    A wait the server asks for is obeyed up to `longest_told_wait`: the Hub's commit quota is counted by the hour.
    """

    attempts: int = 5
    download_attempts: int = 9
    first_wait: float = 1.0
    longest_wait: float = 60.0
    longest_told_wait: float = 3600.0
    sleep: Callable[[float], None] = pause


class Patience:
    """The failures in a row of one piece of work."""

    def __init__(self, retry: Retry, attempts: int) -> None:
        self._retry = retry
        self._attempts = attempts
        self._failures = 0

    def renew(self) -> None:
        """Progress was made: the next failure is a first one."""
        self._failures = 0

    def wait_or_raise(self, error: Exception, *also_transient: int) -> None:
        """Sleep before the next attempt, or raise `error` when it is lasting or patience is spent.

        `also_transient` are statuses that pass with time for this very call.
        """
        if not (is_transient(error) or status_of(error) in also_transient) or not self.left:
            raise error
        told = told_wait(error)
        if told is not None and told > self._retry.longest_told_wait:
            raise error
        self.wait(told)

    @property
    def left(self) -> bool:
        """Whether another failure would be waited out."""
        return self._failures + 1 < self._attempts

    def wait(self, told: float | None = None) -> None:
        """Count a failure and sleep: for the seconds that the server asked for, else for longer each time."""
        self._failures += 1
        backoff = min(self._retry.longest_wait, self._retry.first_wait * 2.0 ** (self._failures - 1))
        scatter = random.random()
        self._retry.sleep(backoff * (1 - scatter / 2) if told is None else told + scatter * self._retry.first_wait)


@dataclass(frozen=True)
class Hub:
    """A Hub and who asks it. `token` None leaves the choice to the client: HF_TOKEN or a stored login."""

    endpoint: str = DEFAULT_ENDPOINT
    token: str | None = field(default=None, repr=False)
    retry: Retry = Retry()

    def __post_init__(self) -> None:
        object.__setattr__(self, "endpoint", self.endpoint.rstrip("/"))

    def api(self) -> HfApi:
        """The client, imported when first needed: it is slow to load and fixes its settings at import."""
        from huggingface_hub import HfApi
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()  # progress is told through nemo_assets.progress
        _limit_silence()
        return HfApi(endpoint=self.endpoint, token=self.token, library_name="nemo-assets")

    def call(self, action: Callable[[], Result]) -> Result:
        """The result of `action`, repeated while the Hub or the network fails in a way that may pass."""
        patience = Patience(self.retry, self.retry.attempts)
        while True:
            try:
                return action()
            except (HTTPError, json.JSONDecodeError) as error:
                patience.wait_or_raise(error)

    @contextlib.contextmanager
    def stream(
        self, repo_id: str, path: str, revision: str, start: int = 0, stop: int | None = None
    ) -> Iterator[Response]:
        """The bytes of a file from `start` to before `stop`, in one request.

        Status 200 instead of 206 means that the server ignored the range and sends the whole file.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        _limit_silence()
        url = hf_hub_url(repo_id, path, repo_type="dataset", revision=revision, endpoint=self.endpoint)
        # Compressed on the way, a byte range would be one of the compressed bytes.
        headers = {**build_hf_headers(token=self.token), "Accept-Encoding": "identity"}
        if start or stop is not None:
            headers["Range"] = f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"
        with get_session().stream("GET", url, headers=headers, timeout=_SILENCE_SECONDS) as response:
            if response.is_error:
                response.read()
            hf_raise_for_status(response)
            yield response

    @contextlib.contextmanager
    def explained(self, repo_id: str, revision: str | None = None) -> Iterator[None]:
        """Tell every failure of the Hub or the network as a `UserError`."""
        try:
            yield
        except (HTTPError, json.JSONDecodeError, OfflineModeIsEnabled, HFValidationError) as error:
            raise UserError(_explanation(error, self.endpoint, repo_id, revision)) from error


def _limit_silence() -> None:
    """Let every request of the client end: by itself it waits for an answer for ever."""
    with _limiting:  # a second call would close the connections that the first has opened
        _limit_silence_once()


@cache
def _limit_silence_once() -> None:
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def create() -> Client:
        client = default_client_factory()
        client.timeout = Timeout(_SILENCE_SECONDS, read=ANSWER_SECONDS)
        return client

    set_client_factory(create)


def status_of(error: Exception) -> int | None:
    """The HTTP status of an answer of the Hub; None when there was no answer."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) else None


def is_transient(error: Exception) -> bool:
    """Whether trying again may help: connection or answer broke off, or the server says it is busy or unwell."""
    return isinstance(error, TransportError | json.JSONDecodeError) or status_of(error) in TRANSIENT_STATUS


def told_wait(error: Exception) -> float | None:
    """Seconds the server asks to wait, from `Retry-After` or an exhausted `RateLimit` header; None if it does not."""
    from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

    if not isinstance(error, HfHubHTTPError):
        return None
    headers = error.response.headers
    retry_after = _retry_after(headers)
    if retry_after is not None:
        return retry_after
    limit = parse_ratelimit_headers(headers)
    return float(limit.reset_in_seconds) if limit is not None and limit.remaining == 0 else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """RFC 9110: seconds, or a date, which counts from the server's own idea of now."""
    value = headers.get("retry-after", "").strip()
    if value.replace(".", "", 1).isdecimal():
        return float(value)
    until = _date(value)
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return None if until is None else max(0.0, (until - now).total_seconds())


def _date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value).astimezone(UTC)
    except ValueError:
        return None


def _explanation(error: Exception, endpoint: str, repo_id: str, revision: str | None) -> str:
    match error:
        case OfflineModeIsEnabled():
            return f"{endpoint}: HF_HUB_OFFLINE is set, so {repo_id} is out of reach. Unset it or set NEMO_SOURCE_DIR."
        case HFValidationError():
            return f"{repo_id!r} is no Hub repo name. It must read <org>/<name>."
        case GatedRepoError():
            return (
                f"{repo_id} is gated: accept its terms at {endpoint}/datasets/{repo_id} "
                "and set HF_TOKEN to a token of that account."
            )
        case RevisionNotFoundError():
            return (
                f"{repo_id} has no revision {revision} at {endpoint}: its history may have been rewritten. Run again."
            )
        case RemoteEntryNotFoundError():
            return f"{repo_id}@{revision} has no file {error.request.url.path.rpartition('/')[2]} at {endpoint}."
        case RepositoryNotFoundError():
            return (
                f"{endpoint} has no dataset {repo_id}, or does not show it to you: "
                "check the name, or set HF_TOKEN to a token that may read it."
            )
        case json.JSONDecodeError():
            return f"{endpoint} answered for {repo_id} with something that is no JSON ({error}). Run again later."
        case HfHubHTTPError():
            return _status_explanation(error, endpoint, repo_id)
        case _:
            return (
                f"{endpoint} cannot be reached for {repo_id} ({type(error).__name__}: {error}). "
                "Check the network and HF_ENDPOINT. A directory can stand in for it: NEMO_SOURCE_DIR, NEMO_PUBLISH_TO."
            )


def _status_explanation(error: HfHubHTTPError, endpoint: str, repo_id: str) -> str:
    match error.response.status_code:
        case 401:
            return f"{endpoint} refuses the token for {repo_id}. Set HF_TOKEN to a valid one."
        case 402 | 403 | 413 if _FULL.search(error.server_message or ""):
            return (
                f"{endpoint} has no room for {repo_id} ({_in_one_line(error.server_message)}). Free storage there or "
                "have more granted, then run again: what was sent is not sent twice."
            )
        case 403:
            said = _in_one_line(error.server_message) or "forbidden"
            return f"{endpoint} denies access to {repo_id} ({said}). Set HF_TOKEN to a token with that permission."
        case 429:
            seconds = told_wait(error)
            when = "later" if seconds is None else f"in {seconds:.0f} s"
            return f"{endpoint} limits the rate of requests for {repo_id}. Run again {when}; a token raises the limit."
        case status:
            said = _in_one_line(error.server_message) or "no reason given"
            return f"{endpoint} answered {status} for {repo_id} ({said}). Run again later."


def _in_one_line(message: str | None) -> str:
    return " ".join((message or "").split()).rstrip(".")
