"""What two versions of a ledger were made from, and where the stages before them began to differ.

Belongs here: following inputs upstream through the manifests of old versions. Does not: records (`compare_versions`).
"""

from __future__ import annotations

from dataclasses import dataclass

from nemo_assets.catalog import Split
from nemo_assets.storage import Manifest, Stage, Store

# Settings are digests; these are the things that they are digests of.
MEANINGS: dict[str, dict[str, str]] = {
    Stage.NORMALIZED: {
        "code": "code of the stage",
        "recipe": "catalog entry, adapter, template or their code",
        "revisions": "revisions in which the files first appeared",
        "unit_bytes": "size of a unit of work",
    },
    Stage.DUPLICATES: {
        "code": "code of the stage",
        "order": "precedence of the splits",
        "rules": "policy on duplicates: thresholds and guards",
    },
    Stage.DEDUPED: {"code": "code of the stage"},
    Stage.LEDGER: {"code": "code of the stage"},
}


@dataclass(frozen=True)
class Difference:
    """A setting or an input of a stage that is not the same for both versions; `old` and `new` are digests, None where
    that version has none. `meaning` says what the digest is of.
    """

    stage: str
    partition: str
    kind: str
    name: str
    meaning: str
    old: str | None
    new: str | None


def differences(old: Manifest, new: Manifest, split: Split, store: Store) -> tuple[tuple[Difference, ...], list[str]]:
    """What differs between two versions of the ledger of a split and in what they were made from, downstream first.

    Also says of which stages what they were made from then is no longer known.
    """
    found: list[Difference] = []
    notes: list[str] = []
    waiting = [(old, new)]
    for before, after in waiting:  # grows on the way
        found += _differing(before, after)
        for name in _changed_inputs(before, after):
            partition = split.scope if name == Stage.DUPLICATES else split.key
            first, second = (made_of(name, each.inputs[name], split, store) for each in (before, after))
            if first is None or second is None:
                notes.append(f"What {name} of {partition} was made from is not known for both versions.")
            elif (first, second) not in waiting:
                waiting.append((first, second))
    return tuple(found), list(dict.fromkeys(notes))


def _differing(old: Manifest, new: Manifest) -> list[Difference]:
    found = []
    for kind, before, after in (("setting", old.settings, new.settings), ("input", old.inputs, new.inputs)):
        for name in sorted(before.keys() | after.keys()):
            values = before.get(name), after.get(name)
            if values[0] != values[1]:
                meaning = MEANINGS.get(old.stage, {}).get(name, "") if kind == "setting" else _content_of(name)
                found.append(Difference(old.stage, old.partition, kind, name, meaning, *values))
    return found


def _content_of(name: str) -> str:
    """What an input is; those of `duplicates` go by their splits."""
    return f"content of {name}" if name in set(Stage) else f"signatures of {name}"


def _changed_inputs(old: Manifest, new: Manifest) -> list[str]:
    """Names of inputs that are stages whose old versions are kept."""
    both = old.inputs.keys() & new.inputs.keys() & MEANINGS.keys()
    return sorted(name for name in both if old.inputs[name] != new.inputs[name])


def made_of(stage: str, content: str, split: Split, store: Store) -> Manifest | None:
    """The version of a stage, current or not, that holds what an input of the split's next stage names.

    content: a data version; of `duplicates` the digest of what was decided about the split.
    """
    partition = split.scope if stage == Stage.DUPLICATES else split.key
    current = store.find(Stage(stage), partition)
    if current is not None and _content(current, split) == content:
        return current
    former = (version.manifest for version in reversed(store.versions(Stage(stage), partition)))
    return next((manifest for manifest in former if _content(manifest, split) == content), None)


def _content(manifest: Manifest, split: Split) -> str | None:
    if manifest.stage == Stage.DUPLICATES:
        decisions: str | None = manifest.details["splits"].get(split.key, {}).get("decisions")
        return decisions
    return manifest.data_version
