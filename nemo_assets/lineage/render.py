"""A passport as text for a terminal, and the original record alone.

The verdict comes first, the original last and untouched, after a line that makes it easy to cut out. Everything else
fits 100 columns (a longer path or URL stays whole, to be copied), and characters that could move the cursor or reorder
text are shown as escapes.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from nemo_assets.errors import UserError
from nemo_assets.lineage.decisions import Decision
from nemo_assets.lineage.entries import Entry
from nemo_assets.lineage.originals import Original
from nemo_assets.lineage.passport import Passport

WIDTH = 100  # columns
_NO_EVIDENCE: tuple[Any, ...] = (None, [], {}, "")
# What a reader wants of a stage's evidence; of the other stages all of it.
_EVIDENCE = {
    "raw": ("content_id", "revision"),
    "duplicates": (
        "spoken_similarity",
        "containment",
        "shared_bands",
        "stands_for",
        "id_of_source",
        "survivor_place",
        "criterion",
    ),
    "published": ("repo", "tag", "withdrawn", "commit", "url", "files"),
    "scored": ("percentile_within_split", "completion_token_count", "truncated", "reason", "model", "revision"),
}
_ROW_COLUMNS = (
    "template", "content_sha1", "text_sha1", "mask_sha1", "meta_domain", "meta_difficulty_bin", "meta_row_verified",
    "meta_correctness", "meta_problem_id", "quality_tags", "stats_char_len", "stats_messages", "stats_tool_calls",
    "source_uuid", "source_license",
)  # fmt: skip


def passport_text(passport: Passport) -> str:
    """The passport for a terminal. The original is printed as it is, except for bytes that are no UTF-8."""
    lines = [*_wrapped(passport.verdict, ""), ""]
    for title, body in _sections(passport):
        lines += [title, *body, ""]
    return "\n".join([*lines, *_original(passport)])


def original_bytes(passport: Passport) -> bytes:
    """The original record and nothing else: the bytes of its line without the line end, or a Parquet row as JSON.

    Raises UserError where the source file is no longer there.
    """
    if passport.original is None:
        raise UserError(f"{passport.entry.place}: {' '.join(passport.notes)}")
    return passport.original.data


def _sections(passport: Passport) -> Iterator[tuple[str, list[str]]]:
    if passport.notes:
        yield "Notes", [line for note in passport.notes for line in _wrapped(note, "  ")]
    entry, origin = passport.entry, passport.origin
    yield "Record", _fields([
        ("id", entry.id), ("record_uid", entry.record_uid), ("partition", entry.partition), ("place", entry.place),
        ("named by", f"{passport.reference} ({passport.matched_by})"),
    ])  # fmt: skip
    yield "Origin", _fields([
        ("repo", origin.repo), ("revision", origin.revision), ("file", origin.file), ("row", origin.row),
        ("byte offset", origin.offset), ("viewer", origin.viewer_url),
        ("file online", origin.blob_url), ("file here", origin.local_blob),
    ])  # fmt: skip
    yield "Decisions", [line for decision in passport.decisions for line in _decision(decision)]
    if passport.survivor:
        yield "Stands behind", _entries([passport.survivor])
    if passport.stands_for_count:
        yield f"Stands for ({passport.stands_for_count})", _entries(passport.stands_for)
    if passport.row:
        yield "Row", _fields((name, passport.row[name]) for name in _ROW_COLUMNS)
    if passport.also:
        yield "The reference also fits", _entries(passport.also)


def _decision(decision: Decision) -> Iterator[str]:
    if decision.stage == "pools":
        yield from _wrapped(f"{'pools':<11} {_pool(decision)}", "  ", " " * 16)
        return
    rule = f": {decision.rule}" if decision.rule else ""
    yield from _wrapped(f"{decision.stage:<11} {decision.outcome}{rule}", "  ", " " * 14)
    names = _EVIDENCE.get(decision.stage, tuple(decision.evidence))
    told = [("measured", decision.value), ("threshold", decision.threshold)]
    told += [(name, decision.evidence.get(name)) for name in names if not _is_told(decision, name)]
    for name, value in told:
        if value not in _NO_EVIDENCE:
            yield from _wrapped(f"{name.replace('_', ' ')}: {_evidence(name, value)}", " " * 14, " " * 16)


def _is_told(decision: Decision, name: str) -> bool:
    """Whether this evidence already stands there as the rule, the measured value or the threshold."""
    return name in ("rule", "limit") or (name == "reason" and decision.evidence.get(name) == decision.value)


def _evidence(name: str, value: Any) -> str:
    if name == "criterion":
        values = f"{_shown(value['survivor_value'])} against {_shown(value['value'])}"
        return f"{value['column']} {values}, {value['wins']} wins"
    if name == "files":
        return ", ".join(path for paths in value.values() for path in paths)
    return _shown(value)


def _pool(decision: Decision) -> str:
    if decision.rule is None:
        return decision.outcome
    note = f" ({decision.evidence['note']})" if "note" in decision.evidence else ""
    if decision.outcome == "admitted":
        return f"in {decision.rule}{note}"
    values = ", ".join(f"{name} is {_shown(value)}" for name, value in decision.value.items())
    part = decision.evidence["false_part"]
    lacks = f", needs {part} ({values})" if part else ", though its predicate is true now"
    return f"not in {decision.rule}{lacks}{note}"


def _entries(entries: Iterable[Entry]) -> list[str]:
    told = (f"{entry.record_uid}  {entry.state}  {_shown(entry.id)}  {entry.place}" for entry in entries)
    return [line for text in told for line in _wrapped(text, "  ", "    ")]


def _fields(pairs: Iterable[tuple[str, Any]]) -> list[str]:
    known = [(name, value) for name, value in pairs if value not in _NO_EVIDENCE]
    width = max(len(name) for name, _ in known)
    told = (f"{name:<{width}}  {_shown(value)}" for name, value in known)
    return [line for text in told for line in _wrapped(text, "  ", " " * (width + 4))]


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _wrapped(text: str, indent: str, following: str | None = None) -> list[str]:
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return textwrap.wrap(
        safe, WIDTH, initial_indent=indent, subsequent_indent=indent if following is None else following,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip


def _original(passport: Passport) -> list[str]:
    original = passport.original
    if original is None:
        return [_ruler("Original record: no longer here")]
    return [_ruler(_original_title(original)), original.data.decode(errors="replace")]


def _original_title(original: Original) -> str:
    if original.form == "parquet_row":
        return "Original record: values of a Parquet row, as JSON"
    size = f"Original record, {len(original.data):,} bytes"
    return f"{size}, exactly" if original.text is not None else f"{size}, not UTF-8: odd bytes shown as U+FFFD"


def _ruler(title: str) -> str:
    return f"--- {title} ".ljust(WIDTH, "-")
