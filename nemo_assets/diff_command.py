"""`nemo-assets diff`: two records side by side in a terminal.

Belongs here: options, and how the answer is shown. Does not: the comparison (`lineage.compare_rows`).
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from nemo_assets.settings import Settings
from nemo_assets.terminal import out, table

if TYPE_CHECKING:
    from nemo_assets.lineage.compare_rows import RowComparison
    from nemo_assets.lineage.word_diff import WordDiff

_AROUND = 80  # characters of equal text shown on each side of a difference
_STYLES = {"equal": "dim", "removed": "red strike", "added": "green"}
_SIGNS = {"equal": ("", ""), "removed": ("[-", "-]"), "added": ("{+", "+}")}


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(diff)


def diff(
    a: Annotated[str, typer.Argument(help="id, record_uid, or dataset:split:file:row.")],
    b: Annotated[str, typer.Argument(help="The other record, named likewise.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Compare two records: what became of each, how similar they are, which fields and words differ."""
    from nemo_assets.lineage.compare_rows import compare_rows

    settings = Settings.from_environment()
    found = compare_rows(a, b, settings.catalog, settings.store, settings.endpoint)
    if json_output:
        sys.stdout.write(json.dumps(found.as_json(), indent=1, default=str) + "\n")
        return
    _print(found)


def _print(found: RowComparison) -> None:
    for name, passport in (("a", found.a), ("b", found.b)):
        out.print(f"{name}  {passport.entry.place}", markup=False, soft_wrap=True)
        out.print(f"   {_safe(passport.verdict)}", markup=False, highlight=False)
    if found.similarity is not None:
        spoken = f"{found.spoken_similarity:.4f} in what the assistant says"
        out.print(f"\nJaccard similarity {found.similarity:.4f}, {spoken}", highlight=False)
    if found.fields:
        rows = [(name, _safe(str(mine)), _safe(str(other))) for name, (mine, other) in found.fields.items()]
        out.print(table("Fields that differ", ("field", "a", "b"), rows))
    if found.diff is None:
        out.print("One of the originals is no longer here: there are no words to compare.")
        return
    clipped = ", their beginnings" if found.diff.clipped else ""
    out.print(f"\nWords of the {found.of}{clipped}: [-only in a-] {{+only in b+}}", markup=False, highlight=False)
    out.print(_runs(found.diff))


def _runs(diff: WordDiff) -> Text:
    text = Text()
    for run in diff.runs:
        begin, end = _SIGNS[run.kind]
        text.append(begin + _safe(_folded(run.text) if run.kind == "equal" else run.text) + end, _STYLES[run.kind])
    return text


def _folded(text: str) -> str:
    if len(text) <= 2 * _AROUND + 40:
        return text
    return f"{text[:_AROUND]} … {len(text) - 2 * _AROUND:,} equal characters … {text[-_AROUND:]}"


def _safe(text: str) -> str:
    """Characters that could move the cursor or reorder text as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
