"""What the page of a row shows besides the passport itself: the strip, the chosen view of its text, the members.

Belongs here: choosing and cutting for the page. Does not: answers (`lineage`), markup (the templates).
"""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from nemo_assets.lineage import Decision, Passport
from nemo_assets.lineage.originals import Original
from nemo_assets.storage import Stage
from nemo_assets.web import conversation
from nemo_assets.web.links import Links
from nemo_assets.web.strip import Node, graph

VIEWS = {"turns": "Conversation", "rendered": "Rendered text", "mask": "Loss mask", "tokens": "NLL of tokens"}
ORIGINAL_LIMIT = 256 << 10  # bytes of an original that are shown; a larger one is downloaded

_JSON_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_INDENT = "  "

_STAGES = (Stage.RAW, Stage.NORMALIZED, Stage.DUPLICATES, Stage.POOLS, Stage.PUBLISHED, Stage.SCORED, Stage.SUBSETS)
_STOPS = ("rejected", "removed", "withdrawn", "file no longer here")
_REACHED = ("fetched", "row", "kept", "admitted", "published", "ok")


def strip_of(passport: Passport, links: Links) -> Markup:
    """The way of the record through the stages; a survivor stands below the stage that chose it."""
    entry = passport.entry
    nodes = [Node("source", "source file", f"row {entry.source_row:,}", "pass", "#origin")]
    for stage in _STAGES:
        decisions = [decision for decision in passport.decisions if decision.stage == stage]
        told = f"as {entry.state}" if stage is Stage.PUBLISHED and _is_out(passport) else _told(stage, decisions)
        kind = _kind(decisions) if stage is not Stage.SUBSETS else "pass" if decisions else "idle"
        nodes.append(Node(stage, stage, told, kind, f"#{_section(stage)}"))
    keys = [node.key for node in nodes]
    edges = list(itertools.pairwise(keys))
    if passport.survivor is not None:
        told = passport.survivor.id or passport.survivor.record_uid
        nodes.append(Node("survivor", "stands behind", told, "pass", links.row(passport.survivor.record_uid)))
        edges.append((Stage.DUPLICATES, "survivor"))
    if passport.stands_for_count:
        told = f"{passport.stands_for_count:,} removed"
        nodes.append(Node("twins", "stands for", told, "idle", links.page("cluster", entry.record_uid)))
        edges.append((Stage.DUPLICATES, "twins"))
    return graph(nodes, edges, "Way of the record through the stages")


def _is_out(passport: Passport) -> bool:
    """Whether a release tells of the record as of one that is not in it."""
    return passport.release is not None and passport.entry.state != "kept"


def evidence_of(decision: Decision) -> dict[str, Any]:
    """What a decision measured besides the value and the threshold that stand beside it."""
    told = (decision.rule, decision.value, decision.threshold)
    return {
        name: value
        for name, value in decision.evidence.items()
        if value is not None and value != [] and (isinstance(value, bool) or value not in told)
    }


def _section(stage: Stage) -> str:
    own = {Stage.POOLS: "pools", Stage.PUBLISHED: "release", Stage.SCORED: "scores", Stage.SUBSETS: "subsets"}
    return own.get(stage, "decisions")


def _told(stage: Stage, decisions: list[Decision]) -> str:
    if stage is Stage.SUBSETS:
        return ", ".join(decision.outcome.removeprefix("in ") for decision in decisions) or "in none"
    if not decisions:
        return "not reached"
    if stage is Stage.POOLS and decisions[0].rule is not None:
        admitted = sum(decision.outcome == "admitted" for decision in decisions)
        return f"in {admitted} of {len(decisions)}"
    if stage is Stage.SCORED and decisions[0].value is not None:
        return f"NLL {decisions[0].value:.3g} nats"
    return decisions[0].outcome


def _kind(decisions: list[Decision]) -> str:
    outcomes = {decision.outcome for decision in decisions}
    if outcomes & set(_STOPS):
        return "stop"
    return "pass" if outcomes & set(_REACHED) else "idle"


@dataclass(frozen=True)
class TextView:
    """One way to look at the text. `stretches`, `turns` or `map` is filled, depending on `name`."""

    name: str
    clipped_from: int | None
    turns: list[conversation.Turn]
    stretches: list[conversation.Stretch]
    mask_agrees: bool | None = None
    map: conversation.HeatMap | None = None
    checkpoint: str | None = None


def scores_with_tokens(passport: Passport) -> dict[str, dict[str, Any]]:
    """Checkpoint → score, of those whose tokens were kept and that were measured on the text as it is now."""
    return {score["checkpoint"]: score for score in passport.scores if score.get("token_nlls") and score["is_current"]}


def text_view(passport: Passport, name: str, checkpoint: str | None, page: int) -> TextView | None:
    """The view a reader asked for, else the conversation; None for a record that never became a row."""
    if passport.row is None:
        return None
    row, scores = dict(passport.row), scores_with_tokens(passport)
    if name == "tokens" and scores:
        chosen = checkpoint if checkpoint in scores else next(iter(scores))
        found = scores[chosen]
        tokens = conversation.heat_map(row, found["token_begins"], found["token_nlls"], page)
        return TextView(name, None, [], list(tokens.stretches), map=tokens, checkpoint=chosen)
    size = len(row["text"])
    cut = size if size > conversation.LONGEST else None
    if name == "mask":
        stretches, agrees = conversation.masked(row)
        return TextView(name, cut, [], _clipped(stretches), agrees)
    text = conversation.clipped(row["text"])
    if name == "rendered":
        return TextView(name, cut, [], conversation.rendered(text))
    return TextView("turns", cut, conversation.turns(text), [])


def _clipped(stretches: list[conversation.Stretch]) -> list[conversation.Stretch]:
    left, kept = conversation.LONGEST, []
    for stretch in stretches:
        if left <= 0:
            break
        kept.append(conversation.Stretch(stretch.kind, stretch.text[:left]))
        left -= len(stretch.text)
    return kept


def pretty_original(original: Original) -> tuple[str | None, str]:
    """The original as a page shows it, and what was done to it; None where it is too large for a page."""
    if len(original.data) > ORIGINAL_LIMIT:
        return None, f"too large to show: {len(original.data):,} bytes, shown up to {ORIGINAL_LIMIT:,}"
    if original.text is None:
        return original.data.decode(errors="replace"), "not UTF-8: odd bytes shown as U+FFFD"
    try:
        json.loads(original.text)
    except (ValueError, RecursionError):
        return original.text, "exactly as it stands in the file"
    return indented(original.text), "indented for reading, nothing else changed; the download is exact"


def indented(text: str) -> str:
    """JSON with line breaks and indentation; strings and numbers stay as they are written."""
    pieces, depth = [], 0
    tokens = _JSON_TOKENS.findall(text)
    for before, token in zip(["", *tokens], tokens, strict=False):
        opens, closes = before in ("{", "["), token in ("}", "]")
        depth -= closes
        if before == "," or opens != closes:  # what is empty stays on one line
            pieces.append("\n" + _INDENT * depth)
        pieces.append(": " if token == ":" else token)
        depth += token in ("{", "[")
    return "".join(pieces)
