"""Codes and rules of a removal, as the ledger names them."""

from __future__ import annotations

CODE_EXACT = "exact_duplicate"
CODE_NEAR = "near_duplicate"

RULE_EXACT = "equal content_sha1, version 1"
RULE_PROBLEM = "equal problem of a Lean statement, version 1"
RULE_STATEMENT = "equal Lean statement, version 1"
RULE_SIMILAR = "Jaccard of 5-token shingles, verified exactly, version 1"
