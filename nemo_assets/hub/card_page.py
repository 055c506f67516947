"""The page of a dataset card that people read, in Markdown.

Whatever comes from a source or a catalog is escaped: it may hold bars, line ends, HTML and Markdown of its own.

Belongs here: wording and layout of the page. Does not: the YAML before it (`card`), drawing its pictures.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

from nemo_assets.hub.card_content import IMAGES, ROWS_CONFIG, CardContent, ColumnText, ConfigSplit, by_config

LISTED_IDS = 50
"""Withdrawn ids that the page lists; of more, the rest is only counted."""

_IMAGE_TEXTS = (
    "Rows by length in tokens",
    "Rows by correctness of the teacher on the problem",
    "Rows by domain",
    "Rows by mean negative log-likelihood in nats per token under each checkpoint",
    "Where the rows of each training subset lie among all scored rows, by mean negative log-likelihood",
    "Mean negative log-likelihood of rows under the student against that under the reference",
    "Rows with a score, and rows of each training subset",
)
_SIDE_CONFIGS = {
    "ledger": "One entry for every record of the source: kept, rejected, removed or withdrawn, with code and evidence",
    "rejected": "Records that were rejected for a defect, with their bytes where the licence lets them be told",
    "removed": "Rows that were removed, with code, evidence and the row that stands for them; `text` may be withheld",
    "tools": "Schemas of the tools that rows offer to the assistant, joined by `source_tools_id`",
    "inventory": "Fields of the source records: types, how often each is null, examples",
    "metadata_coverage": "How many rows have correctness, verification, tools and other metadata",
    "scores": "Negative log-likelihood of rows under each checkpoint, joined by `id`",
    "strata": "What the training subsets were ranked within, and the cut-points that place a later row",
}
_SUBSET = "subset_"


def page(content: CardContent) -> str:
    """The page; equal content gives equal text."""
    sections = [
        f"# {_plain(content.title)}",
        _what_it_is(content),
        _outdated(content),
        _pools(content),
        _splits(content),
        _images(content),
        _funnel(content),
        _codes(content),
        _withdrawals(content),
        _changes(content),
        _loading(content),
        _tracing(content),
        _side_configs(content),
        _columns(content),
        _licence(content),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def url_of(repo_id: str) -> str:
    """Where a dataset is shown."""
    return f"https://huggingface.co/datasets/{quote(repo_id, safe='/')}"


def _what_it_is(content: CardContent) -> str:
    source, revisions = _linked(content.source_repo), sorted(set(content.source_revisions.values()))
    at = f"revision {_code(revisions[0])}" if len(revisions) == 1 else f"{len(revisions)} revisions (see the splits)"
    made = "in the Harmony format, deduplicated, and sorted into pools" if content.pools else "in the Harmony format"
    kept = (
        f"The config `{ROWS_CONFIG}` has every row that stayed and each pool those that serve one purpose; what became "
        "of every other record of the source, down to the last rejected one, is counted below."
    )
    plain = "What became of every record of the source, down to the last rejected one, is counted below."
    return f"Conversations of {source} at {at}, rendered {made}. {kept if content.pools else plain}"


def _outdated(content: CardContent) -> str:
    """Splits that nobody can load for now."""
    configs: dict[str, list[str]] = {}
    for config, split in content.outdated():
        configs.setdefault(split, []).append(config)
    if not configs:
        return ""
    named = "; ".join(f"{_code(split)} ({', '.join(map(_code, names))})" for split, names in configs.items())
    return (
        "> **To be published again:** the files of these splits have the columns of an earlier release, so they are "
        f"not part of the configs and cannot be loaded by name: {named}."
    )


def _pools(content: CardContent) -> str:
    """What each pool is for and how many rows it has."""
    if not content.pools:
        return ""
    rows = Counter[str]()
    for each in content.config_splits:
        rows[each.config] += each.rows
    lines = [
        [_code(pool.name), f"{rows[pool.name]:,}", _share(rows[pool.name], rows[ROWS_CONFIG]), _plain(pool.purpose)]
        for pool in content.pools
    ]
    every = [_code(ROWS_CONFIG), f"{rows[ROWS_CONFIG]:,}", _share(rows[ROWS_CONFIG], rows[ROWS_CONFIG]), "Every row"]
    rules = [[_code(pool.name), _code(pool.predicate)] for pool in content.pools]
    return (
        "## Pools\n\nA pool is a config with the rows that satisfy its predicate. A row may be in several.\n\n"
        + _table(["config", "rows>", "share>", "purpose"], [every, *lines])
        + "\n\nPredicates are SQL over the columns below.\n\n"
        + _table(["pool", "predicate"], rules)
    )


def _splits(content: CardContent) -> str:
    """One line per split: rows, and rows of each pool."""
    rows = {(each.config, each.split): each.rows for each in content.config_splits}
    filled = {config for (config, _), count in rows.items() if count}
    pools = [pool.name for pool in content.pools if pool.name in filled]
    splits = list(dict.fromkeys(each.split for each in content.config_splits))
    if not splits:
        return ""
    configs = [ROWS_CONFIG, *pools]
    several = len(set(content.source_revisions.values())) > 1
    lines = [
        [
            _code(split),
            *(f"{rows.get((config, split), 0):,}" for config in configs),
            *_revision(content, split, several),
        ]
        for split in splits
    ]
    if len(splits) > 1:
        sums = [sum(rows.get((config, split), 0) for split in splits) for config in configs]
        lines.append(["**all**", *(f"**{count:,}**" for count in sums), *([""] if several else [])])
    prefix = _shared_prefix(pools)
    header = ["split", "rows>", *(f"{_words(name.removeprefix(prefix))}>" for name in pools)]
    notes = [f"Each further column is a pool, without the `{prefix}` of its name."] if prefix else []
    if len(pools) < len(content.pools):
        notes.append("Pools without any row are left out.")
    if any(not rows.get((config, split)) for config in configs for split in splits):
        notes.append("`datasets` cannot load a split without rows, so a config has no split where the table says 0.")
    table = _table([*header, *(["source revision"] if several else [])], lines)
    return "\n\n".join(["## Splits", *([" ".join(notes)] if notes else []), table])


def _revision(content: CardContent, split: str, wanted: bool) -> list[str]:
    return [_code(content.source_revisions.get(split, "?")[:12])] if wanted else []


def _shared_prefix(names: Sequence[str]) -> str:
    """Up to an underscore, what all of several names begin with."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    same = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("_", 0, same) + 1]


def _images(content: CardContent) -> str:
    shown = [f"![{text}]({path})" for path, text in zip(IMAGES, _IMAGE_TEXTS, strict=True) if path in content.images]
    return "\n\n".join(["## What the rows are like", *shown]) if shown else ""


def _funnel(content: CardContent) -> str:
    """One line per split: every record of the source ends in exactly one of the columns."""
    if not content.funnels:
        return ""
    lines = []
    for each in content.funnels:
        ends = [sum(counts.values()) for counts in (each.rejected, each.removed, each.withdrawn)]
        lines.append([each.records, *ends, each.kept])
    splits = [_code(each.split) for each in content.funnels]
    table = [[split, *_counted(counts)] for split, counts in zip(splits, lines, strict=True)]
    if len(lines) > 1:
        sums = [sum(column) for column in zip(*lines, strict=True)]
        table.append(["**all**", *(f"**{cell}**" for cell in _counted(sums))])
    return (
        "## From records to rows\n\nEach record of the source is kept as a row, rejected for a defect, removed because "
        "another row stands for it, or withdrawn.\n\n"
    ) + _table(["split", "records>", "rejected>", "removed>", "withdrawn>", "rows>", "kept>"], table)


def _counted(counts: Sequence[int]) -> list[str]:
    return [*(f"{count:,}" for count in counts), _share(counts[-1], counts[0])]


def _codes(content: CardContent) -> str:
    """Why records were dropped: summed, and by split where there are several."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for each in content.funnels:
        for kind, counts in (("rejected", each.rejected), ("removed", each.removed), ("withdrawn", each.withdrawn)):
            for code, count in counts.items():
                found.setdefault((kind, code), {})[each.split] = count
    if not found:
        return ""
    ordered = sorted(found)
    meanings = content.code_meanings
    lines = [
        [
            _code(code),
            kind,
            f"{sum(found[kind, code].values()):,}",
            *([_plain(meanings.get(code, ""))] * bool(meanings)),
        ]
        for kind, code in ordered
    ]
    text = _table(["code", "fate", "records>", *(["meaning"] * bool(meanings))], lines)
    if len(content.funnels) == 1:
        return text
    by_split = [
        [_code(each.split), *(f"{found[key].get(each.split, 0):,}" for key in ordered)] for each in content.funnels
    ]
    header = ["split", *(f"{_words(code)}>" for _, code in ordered)]
    return f"{text}\n\n<details>\n<summary>Codes by split</summary>\n\n{_table(header, by_split)}\n\n</details>"


def _withdrawals(content: CardContent) -> str:
    if not content.withdrawals:
        return ""
    reasons = Counter(each.reason for each in content.withdrawals)
    table = _table(["reason", "records>"], [[_plain(reason), f"{reasons[reason]:,}"] for reason in sorted(reasons)])
    ids = ", ".join(_code(each.id) for each in content.withdrawals[:LISTED_IDS])
    rest = len(content.withdrawals) - LISTED_IDS
    return (
        "## Withdrawals\n\nThese records were taken out of the release after the fact. **Earlier revisions of this "
        "repo still hold those that had been published**, until its history is squashed or the repo deleted: delete "
        f"copies of your own.\n\n{table}\n\n{ids}" + (f" and {rest:,} more" if rest > 0 else "") + "."
    )


def _changes(content: CardContent) -> str:
    """One line per split that was released before."""
    if not content.changes:
        return ""
    lines = [
        [_code(each.split), _code(each.since), *map(_causes, (each.entered, each.left, each.changed, each.moved))]
        for each in content.changes
    ]
    return (
        "## What changed\n\nRows of each split that are others than in the release before, by cause. Moved rows are in "
        "other pools than before; changed ones have another content under the same `id`.\n\n"
    ) + _table(["split", "since", "entered", "left", "changed", "moved"], lines)


def _causes(counts: Mapping[str, int]) -> str:
    told = [f"{counts[cause]:,} {_plain(cause)}" for cause in sorted(counts) if counts[cause]]
    return ", ".join(told) or "–"


def _loading(content: CardContent) -> str:
    rows = content.loadable().get(ROWS_CONFIG)
    if not rows:
        return ""
    repo, split, revision = content.repo_id, rows[0].split, content.pinned or "main"
    if "/" not in repo:
        return _examples("", f"./{repo}", split, "", f"{repo}/{rows[0].files}")
    pinned = (
        f"`{revision}` names this release for ever."
        if content.pinned
        else "`main` moves with every release. Put a tag such as `release-0001` or a commit id in its place, and the "
        "rows will be the same for ever."
    )
    return _examples(pinned, repo, split, revision, f"hf://datasets/{repo}@{revision}/{rows[0].files}")


def _examples(note: str, repo: str, split: str, revision: str, files: str) -> str:
    at = f", revision={_text(revision)}" if revision else ""
    sections = [
        "## Loading",
        note,
        "```python\nfrom datasets import load_dataset\n\n"
        f"rows = load_dataset({_text(repo)}, {_text(ROWS_CONFIG)}, split={_text(split)}{at})\n```",
        f"```python\nimport polars as pl\n\nrows = pl.scan_parquet({_text(files)})\n```",
        f"```sql\n-- DuckDB\nSELECT count(*) FROM '{files}';\n```",
        "With `streaming=True`, `datasets` reads without a download." if revision else "",
    ]
    return "\n\n".join(section for section in sections if section)


def _tracing(content: CardContent) -> str:
    where = (
        "## Where a row comes from\n\n`source_revision`, `source_file` and `source_row` of a row name the record it "
        "was made from. `nemo-assets explain ID` tells its whole history: the record, the rules that judged it, the "
        "duplicates it stands for, the pools it is in, its scores."
    )
    if not any(each.config == "ledger" for each in content.config_splits):
        return where
    return (
        f"{where} The config `ledger` says the same without our tools: it has every record of the source by `id` and "
        "`record_uid`, with its fate and the evidence for it. `lineage/` has one JSON file per split: files and "
        "revisions of the source, code and settings of every step."
    )


def _side_configs(content: CardContent) -> str:
    """What there is besides rows and pools."""
    known = {ROWS_CONFIG, *(pool.name for pool in content.pools)}
    configs = by_config(each for each in content.config_splits if each.config not in known)
    if not configs:
        return ""
    total = len({each.split for each in content.config_splits})
    lines = [
        [_code(name), f"{sum(each.rows for each in splits):,}", _in_splits(splits, total), _meaning(content, name)]
        for name, splits in configs.items()
    ]
    return "## Other configs\n\n" + _table(["config", "rows>", "splits", "what it holds"], lines)


def _in_splits(splits: Sequence[ConfigSplit], total: int) -> str:
    having = [each.split for each in splits if each.rows]
    if len(having) == total:
        return "all"
    return ", ".join(map(_code, having)) if len(having) <= 3 else f"{len(having)} of {total}"


def _meaning(content: CardContent, config: str) -> str:
    if config in content.config_meanings:
        return _plain(content.config_meanings[config])
    if config.startswith(_SUBSET):
        return f"The subset `{config.removeprefix(_SUBSET)}`: rows that were selected by their scores"
    return _SIDE_CONFIGS.get(config, "")


def _columns(content: CardContent) -> str:
    if not content.columns:
        return ""
    of = "`rows` and the pools have" if content.pools else "Rows have"
    parts = [f"## Columns\n\n{of} these columns.", _column_table(content.columns)]
    there = {each.config for each in content.config_splits}
    for config, columns in content.side_columns.items():
        if config not in there:
            continue
        summary = f"<summary>Columns of {_html(config)}</summary>"
        parts.append(f"<details>\n{summary}\n\n{_column_table(columns)}\n\n</details>")
    return "\n\n".join(parts)


def _column_table(columns: Iterable[ColumnText]) -> str:
    lines = [[_code(name), _code(kind), _plain(meaning)] for name, kind, meaning in columns]
    return _table(["column", "type", "meaning"], lines)


def _licence(content: CardContent) -> str:
    ids = " and ".join(map(_code, content.licenses))
    parts = [f"Derived from {_linked(content.source_repo)}; its licence and terms apply ({ids})."]
    if len(content.licenses) > 1 or content.licenses == ["other"]:
        parts.append("Each row carries the licence of its source record in `source_license`.")
    if content.attribution:
        parts.append(_plain(content.attribution))
    return "## Licence and attribution\n\n" + " ".join(parts)


def _table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Rows of cells that are escaped but for bars; `>` at the end of a heading sets its column to the right."""
    rule = ["---:" if name.endswith(">") else "---" for name in header]
    ruled = [[name.removesuffix(">") for name in header], rule, *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in ruled)


def _share(part: int, whole: int) -> str:
    """In percent with one digit; neither 0.0 for what is there nor 100.0 for less than all."""
    if not whole:
        return "–"
    tenths = round(1000 * part / whole)
    if part and not tenths:
        return "&lt;0.1 %"
    if part < whole and tenths == 1000:
        return "&gt;99.9 %"
    return f"{tenths / 10:.1f} %"


def _words(name: str) -> str:
    """A name that may be broken into lines, as headings of narrow columns must be."""
    return _plain(name.replace("_", " "))


def _linked(repo_id: str) -> str:
    return f"[{_plain(repo_id)}]({url_of(repo_id)})"


def _text(value: str) -> str:
    """A string literal in Python."""
    return json.dumps(value)


def _html(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    """Text that Markdown and HTML leave alone, in one line. Underscores within words are left alone anyway."""
    escaped = re.sub(r"([\\`*\[\]~$]|(?<!\w)_|_(?!\w))", r"\\\1", " ".join(text.split()))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _code(text: str) -> str:
    """Text as it is, in one line, within more backticks in a row than it has itself."""
    line = " ".join(text.split())
    longest = max((len(ticks) for ticks in re.findall("`+", line)), default=0)
    fence, space = "`" * (longest + 1), " " * (line.startswith("`") or line.endswith("`"))
    return f"{fence}{space}{line}{space}{fence}" if line else ""
