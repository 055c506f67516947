"""`nemo-assets find`, `why` and `compare`: records by what is in them, what a rule did, what a change of it did.

Belongs here: options, and how answers are shown. Does not: any work (`lineage`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nemo_assets.settings import Settings
from nemo_assets.terminal import out, table

if TYPE_CHECKING:
    from nemo_assets.lineage.compare_versions import Cell, End, LedgerVersion, VersionComparison
    from nemo_assets.lineage.find import Finding, Hit
    from nemo_assets.lineage.why import Judged, RuleEffect

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_SHOWN = 100  # characters of a piece of text in a line
_BAR = 40  # characters of the longest bar of a histogram


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (find, why, compare):
        app.command()(command)


def find(
    text: Annotated[str, typer.Argument(help="A reference, a digest, or any piece of text; - reads stdin.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most records to show.")] = 10,
    json_output: Json = False,
) -> None:
    """Find records by a reference, or by a piece of their text: word for word first, then similar ones."""
    from nemo_assets.lineage.find import find as search

    settings = Settings.from_environment()
    wanted = sys.stdin.buffer.read().decode(errors="replace") if text == "-" else text
    finding = search(wanted, settings.catalog, settings.store, limit)
    if json_output:
        _print_json(finding.as_json())
        return
    for line in _finding_lines(finding):
        out.print(line, markup=False, soft_wrap=True)


def why(
    code: Annotated[str, typer.Argument(help="A drop or removal code, such as near_duplicate.")],
    partition: Annotated[str | None, typer.Option("--split", help="Only this <dataset-slug>/<split>.")] = None,
    n: Annotated[
        int, typer.Option("--rows", "-n", min=0, max=1000, help="Rows on each side of a threshold, and in the sample.")
    ] = 20,
    seed: Annotated[int, typer.Option(help="Of the sample: the same seed shows the same rows.")] = 0,
    json_output: Json = False,
) -> None:
    """Show what a rule did: its threshold, what was measured, rows just above and below, and a sample."""
    from nemo_assets.lineage.why import why as look

    settings = Settings.from_environment()
    page = look(code, settings.catalog, settings.store, partition, n, seed)
    if json_output:
        _print_json(page.as_json())
        return
    share = f"{page.count / page.records:.2%}" if page.records else "none"
    out.print(f"{code}: {page.count:,} of {page.records:,} records ({share}) of {len(page.partitions)} splits")
    for rule in page.rules:
        _show_rule(rule)
    for note in page.notes:
        out.print(note, soft_wrap=True)


def compare(
    split: Annotated[str, typer.Argument(help="<dataset-slug>/<split>.")],
    old: Annotated[str | None, typer.Option("--from", help="Version; the one before, if left out.")] = None,
    new: Annotated[str | None, typer.Option("--to", help="Version; the current one, if left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of the samples: the same seed shows the same rows.")] = 0,
    json_output: Json = False,
) -> None:
    """Compare two versions of the ledger of a split: which records end otherwise, and what made the difference."""
    from nemo_assets.lineage.compare_versions import compare_versions, ledger_versions

    settings = Settings.from_environment()
    chosen = settings.catalog.split(split)
    found = compare_versions(chosen, old, new, settings.store, seed)
    if json_output:
        _print_json(found.as_json())
        return
    _show_comparison(found)
    out.print("Versions there are:")
    for version in ledger_versions(chosen, settings.store):
        out.print(f"  {_version_line(version)}", markup=False, highlight=False, soft_wrap=True)


def _show_comparison(found: VersionComparison) -> None:
    for side, version in (("from", found.old), ("to", found.new)):
        out.print(f"{side:<5} {_version_line(version)}", markup=False, highlight=False, soft_wrap=True)
    counts = f"{found.unchanged:,} unchanged, {found.changed:,} changed"
    out.print(f"{counts}, {found.appeared:,} appeared, {found.vanished:,} vanished")
    rows = [(_end(cell.old), _end(cell.new), f"{cell.records:,}", f"{cell.changed:,}") for cell in found.cells]
    out.print(table("Records by how they ended", ("was", "is", "records", "changed"), rows, ("records", "changed")))
    for cell in found.cells:
        for line in _cell_lines(cell):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    for file in found.files:
        told = f"{_visible(file.path)}: {file.vanished:,} records vanished, {file.appeared:,} appeared"
        out.print(told, markup=False, soft_wrap=True)
    if found.differences:
        made = [(f"{d.stage} of {d.partition}", d.meaning, d.old or "-", d.new or "-") for d in found.differences]
        out.print(table("What the versions were made from", ("stage", "what differs", "from", "to"), made))
    for note in found.notes:
        out.print(note, soft_wrap=True)


def _version_line(version: LedgerVersion) -> str:
    current = ", current" if version.is_current else "" if version.is_whole else ", its files are gone"
    counts = f"{version.records:,} records, {version.kept:,} kept"
    return f"{version.version}  since {version.since:%Y-%m-%d %H:%M} UTC, {counts}{current}"


def _end(end: End | None) -> str:
    return "not there" if end is None else f"{end.state} {end.code or ''}".rstrip()


def _cell_lines(cell: Cell) -> Iterator[str]:
    """A sample of what changed in a cell."""
    if cell.sample:
        yield f"{_end(cell.old)} → {_end(cell.new)}, {len(cell.sample)} of {cell.changed:,}:"
    for moved in cell.sample:
        survivor = f"  behind {moved.entry.survivor_uid}" if moved.entry.survivor_uid else ""
        yield f"  {moved.record_uid}  {_visible(moved.entry.place)}{survivor}"


def _finding_lines(finding: Finding) -> Iterator[str]:
    for hit in finding.hits:
        entry = hit.entry
        yield f"{entry.record_uid}  {entry.state:<8}  {_how(hit)}"
        yield f"    {entry.id or '-'}  {entry.place}" + (f"  {entry.code}" if entry.code else "")
        if hit.snippet:
            yield f"    {_visible(hit.snippet)}"
    if not finding.hits:
        yield "Nothing was found."
    yield from (_visible(note, None) for note in finding.notes)
    yield finding.searched.sentence()


def _how(hit: Hit) -> str:
    if hit.spans:
        longest = hit.spans[0]
        exactly = "exactly" if longest.is_exact else "but for case and signs between"
        more = f", and {len(hit.spans) - 1} more pieces" if len(hit.spans) > 1 else ""
        return f"verbatim: {longest.end - longest.begin} characters {exactly}{more}"
    if hit.jaccard is not None:
        return f"similar: Jaccard {hit.jaccard:.2f}, {hit.containment or 0:.0%} of the smaller contained"
    return hit.matched_by


def _show_rule(rule: RuleEffect) -> None:
    threshold = "no threshold" if rule.threshold is None else f"threshold {rule.threshold:g}"
    out.print(f"\n{rule.rule or 'no rule named'}: {rule.count:,} records, {threshold}", markup=False, soft_wrap=True)
    most = max((each.records for each in rule.histogram), default=1)
    for low, high, records in rule.histogram:
        length = -(-records * _BAR // most)
        out.print(f"  {low:>10.4g} to {high:<10.4g} {'█' * length} {records:,}", markup=False)
    for title, judged in (("Just above", rule.above), ("Just below", rule.below), ("Sample", rule.sample)):
        if judged:
            out.print(f"{title}:")
        for line in map(_judged_line, judged):
            out.print(line, markup=False, soft_wrap=True)


def _judged_line(judged: Judged) -> str:
    value = "" if judged.value is None else f"{judged.value:.4g}"
    other = judged.other.record_uid if judged.other else judged.entry.survivor_uid
    beside = f"  beside {other}" if other else ""
    return f"  {value:>8}  {judged.entry.record_uid}  {_visible(judged.entry.place)}{beside}"


def _visible(text: str, most: int | None = _SHOWN) -> str:
    """One line of text in which nothing can move the cursor or reorder what is beside it."""
    cut = text if most is None or len(text) <= most else text[:most] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in cut)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n")
