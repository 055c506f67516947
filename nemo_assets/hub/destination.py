"""Which target a destination names: `hf://<org>` or a directory."""

from __future__ import annotations

from pathlib import Path

from nemo_assets.errors import UserError
from nemo_assets.hub.client import DEFAULT_ENDPOINT, Hub
from nemo_assets.hub.commit_budget import CommitBudget
from nemo_assets.hub.directory_target import DirectoryTarget
from nemo_assets.hub.hub_target import HubTarget
from nemo_assets.hub.targets import Target

HUB_SCHEME = "hf://"


def open_target(
    destination: str,
    endpoint: str = DEFAULT_ENDPOINT,
    token: str | None = None,
    private: bool = True,
    budget: CommitBudget | None = None,
) -> Target:
    """The target that `destination` names: `hf://<org>` for the Hub, else the path of a directory.

    New repos on the Hub are private unless told otherwise; commits to it are counted by `budget`.

    Raises:
        UserError: the destination is neither.
    """
    if destination.startswith(HUB_SCHEME):
        organisation = destination.removeprefix(HUB_SCHEME).strip("/")
        if not organisation or "/" in organisation:
            raise UserError(f"NEMO_PUBLISH_TO={destination}: it must read hf://<org>, without a repo name.")
        return HubTarget(Hub(endpoint, token), private, budget)
    if "://" in destination or not destination:
        raise UserError(f"NEMO_PUBLISH_TO={destination!r}: it must read hf://<org> or be the path of a directory.")
    return DirectoryTarget(Path(destination))


def organisation_of(destination: str, default: str) -> str:
    """The organisation that repos of `destination` belong to: its own for `hf://<org>`, else `default`."""
    if not destination.startswith(HUB_SCHEME):
        return default
    return destination.removeprefix(HUB_SCHEME).strip("/")
