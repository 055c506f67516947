"""The fetched files of a split, as a later stage finds them.

Belongs here: that they still are what was fetched. Does not: fetching them (`raw`); so that a worker process, which
only reads them, loads nothing of the Hub's client.
"""

from __future__ import annotations

from nemo_assets.errors import UserError
from nemo_assets.hub.local_files import sha256_at
from nemo_assets.storage import Manifest, Store


def require_intact(raw: Manifest, store: Store) -> None:
    """Raise UserError naming a file that is not what was fetched. One that nobody touched since is not read again."""
    for part in raw.parts:
        path = store.path(part)
        if not path.is_file() or sha256_at(path) != part.sha256:
            raise UserError(
                f"{path}: damaged or gone since it was fetched for {raw.partition}. "
                f"Delete it, if it is there, and materialise raw of {raw.partition} again."
            )
