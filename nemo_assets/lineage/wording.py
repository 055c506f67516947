"""The sentence a passport begins with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nemo_assets.lineage.decisions import Release
from nemo_assets.lineage.entries import Entry
from nemo_assets.lineage.survivors import Criterion

_NAMED_POOLS = 3


def verdict_of(
    entry: Entry,
    survivor: Entry | None,
    criterion: Criterion | None,
    stands_for: int,
    pools: Sequence[str] | None,
    release: Release | None,
    scores: Sequence[dict[str, Any]],
) -> str:
    """What became of the record, in one sentence."""
    if entry.state == "rejected":
        return f"Rejected: {_words(entry.code)}{_detail(entry)}."
    if entry.state == "removed":
        stays = f"{_survivor(entry, survivor)}, which stays {_because(criterion)}"
        return f"Removed as {_words(entry.code)}{_similarity(entry)} of {stays}."
    twins = [f"stands for {stands_for} removed duplicate{'s' if stands_for > 1 else ''}"] if stands_for else []
    return f"Kept: {', '.join([_pools(pools), *twins, _release(release), *_scores(scores)])}."


def _words(code: str | None) -> str:
    return (code or "").replace("_", " ")


def _detail(entry: Entry) -> str:
    """What the evidence says first: the reason, or else what it measured."""
    evidence = entry.evidence
    if "reason" in evidence:
        return f" ({_words(str(evidence['reason']))})"
    measured = [(key, value) for key, value in evidence.items() if key != "rule"]
    told = ", ".join(f"{_words(key)} {value}" for key, value in measured[:2])
    return f" ({told})" if told else ""


def _survivor(entry: Entry, survivor: Entry | None) -> str:
    if survivor is not None:
        return f"{survivor.id} ({survivor.partition}, {survivor.source_file}, row {survivor.source_row})"
    evidence = entry.evidence
    return f"{evidence.get('survivor_id', entry.survivor_uid)} ({evidence.get('survivor_partition', 'split unknown')})"


def _similarity(entry: Entry) -> str:
    """How similar the two are, where they are not equal."""
    similarity = entry.similarity
    return f" (similarity {similarity:.3f})" if similarity is not None and similarity < 1 else ""


def _because(criterion: Criterion | None) -> str:
    if criterion is None:
        return "for a reason whose signatures are no longer here"
    values = f"{_value(criterion.survivor_value)} against {_value(criterion.value)}"
    return f"because {criterion.told} ({criterion.column} {values})"


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "true", False: "false"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _pools(pools: Sequence[str] | None) -> str:
    if pools is None:
        return "pools not made yet"
    if not pools:
        return "in no pool"
    named = ", ".join(pools[:_NAMED_POOLS]) + (", …" if len(pools) > _NAMED_POOLS else "")
    return f"in {len(pools)} pool{'s' if len(pools) > 1 else ''} ({named})"


def _release(release: Release | None) -> str:
    if release is None:
        return "not published yet"
    if release.withdrawn:
        return f"left out of {release.repo}: withdrawn ({release.withdrawn})"
    if release.tag is None:
        return f"waits for approval in {release.repo} at commit {release.commit[:12]}"
    done = "published" if release.is_current else "an earlier version of its split published"
    return f"{done} in {release.repo} as {release.tag}, commit {release.commit[:12]}"


def _scores(scores: Sequence[dict[str, Any]]) -> Iterable[str]:
    if not scores:
        yield "not scored yet"
    for score in scores:
        by = f"by {score.get('checkpoint', 'an unnamed checkpoint')}"
        if score["nll_mean"] is None:
            yield f"refused {by}: {_words(score['status'])}"
            continue
        percentile = score.get("percentile_within_split")
        rank = f" (percentile {percentile:.0f} of its split)" if percentile is not None else ""
        older = "" if score["is_current"] else ", on an earlier text"
        yield f"scored NLL {score['nll_mean']:.3g} nats per token{rank} {by}{older}"
