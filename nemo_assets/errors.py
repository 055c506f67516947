"""Errors that cross rooms.

Belongs here: the error a user reads and the rejection of a record. An error that only one room raises lives there.
"""

from __future__ import annotations

from typing import Any


class UserError(Exception):
    """Something the user can put right: a setting, a file, a name, a token.

    The message is one clear line that says what is wrong, where, and what to do. The command line prints it without a
    traceback and exits with code 2; an asset fails with it and makes nothing current.
    """


class ConservationError(Exception):
    """Records read differ from records accounted for. Nothing is made current."""


class Rejected(Exception):  # noqa: N818  (a verdict on a record, named as the ledger names it)
    """A record becomes no row. `code` is a drop code of the ledger, `evidence` what was measured, JSON-serialisable."""

    def __init__(self, code: str, **evidence: Any) -> None:
        super().__init__(code)
        self.code = code
        self.evidence = evidence
