"""Load a release as its users will: with `datasets`, from nothing, the first rows of every split.

`datasets` answers from its cache when a repo cannot be loaded, takes a folder of the repo's name for the repo, and
reads its settings when it is imported. So it runs in a process of its own, with an empty cache and in an empty folder.

Belongs here: that process, and what it is asked and answers. Does not: what the answers have to be (`stages`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from nemo_assets.errors import UserError

ROWS_TAKEN = 3

_START_SECONDS = 300.0
_SPLIT_SECONDS = 300.0  # `datasets` itself repeats for minutes what may pass
_ERROR_LENGTH = 300  # characters; of a longer one, as a failed cast with both schemas, beginning and end matter
_CACHES = ("_CACHE", "_HOME", "_OFFLINE", "_PATH")  # variables that would bring another cache back, or do without Hub


@dataclass(frozen=True)
class Wanted:
    """A split of a config to load; `key` is the column whose first value is told."""

    config: str
    split: str
    key: str


@dataclass(frozen=True)
class Loaded:
    """What came of it: the columns, how many of the first rows came, the key of the first. Or what went wrong."""

    config: str
    split: str
    columns: tuple[str, ...] = ()
    rows: int = 0
    first: Any = None
    problem: str = ""


def load_first_rows(
    loadable: str, revision: str | None, wanted: Sequence[Wanted], endpoint: str, token: str | None
) -> list[Loaded]:
    """Load the first rows of each split, streaming. `loadable` is a repo id with `revision`, or a folder without.

    Raises UserError if the process ends without an answer.
    """
    if not wanted:
        return []
    question = {
        "loadable": loadable if revision else str(Path(loadable).absolute()),
        "revision": revision,
        "wanted": [asdict(each) for each in wanted],
    }
    seconds = _START_SECONDS + _SPLIT_SECONDS * len(wanted)
    with tempfile.TemporaryDirectory(prefix="nemo-load-") as home:
        environment = _environment(Path(home), endpoint, token, offline=revision is None)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "nemo_assets.hub.loading"],
                input=json.dumps(question), capture_output=True, text=True, cwd=home, env=environment, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise UserError(f"{loadable}: `datasets` has not loaded it within {seconds:.0f} s. Run again.") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise UserError(
            f"{loadable}: `datasets` cannot be run ({said[-1]}). Install it, or free memory, and run again."
        )
    answers = [Loaded(**{**answer, "columns": tuple(answer["columns"])}) for answer in json.loads(done.stdout)]
    found = {(answer.config, answer.split): answer for answer in answers}
    return [found[each.config, each.split] for each in wanted]


def _environment(home: Path, endpoint: str, token: str | None, offline: bool) -> dict[str, str]:
    """Ours, but with an empty cache; the token a user is logged in with lies in the cache that is left behind."""
    from huggingface_hub import get_token

    import nemo_assets

    kept = {name: value for name, value in os.environ.items() if not _is_replaced(name)}
    package = str(Path(nemo_assets.__file__).parents[1])
    settings = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH")))),
    }
    if offline:
        return {**kept, **settings, "HF_HUB_OFFLINE": "1"}
    found = token or get_token()
    return {**kept, **settings, **({"HF_TOKEN": found} if found else {})}


def _is_replaced(name: str) -> bool:
    return name == "HF_TOKEN" or (name.startswith(("HF_", "HUGGINGFACE_")) and name.endswith(_CACHES))


# The process


def _answer(question: Mapping[str, Any]) -> Iterator[Loaded]:
    """What each split gives. A config is set up once for all its splits, which saves requests."""
    import datasets  # noqa: F401  (that it is missing is not the fault of a split)

    if question["revision"]:
        _list_once(question["loadable"], question["revision"])
    by_config: dict[str, list[Wanted]] = {}
    for each in question["wanted"]:
        by_config.setdefault(each["config"], []).append(Wanted(**each))
    for config, wanted in by_config.items():
        try:
            splits = _load(question["loadable"], config, question["revision"])
        except Exception as error:  # noqa: BLE001  (whatever it is, a user of the release would meet it)
            yield from (Loaded(config, each.split, problem=_in_one_line(error)) for each in wanted)
            continue
        yield from (_first_rows(splits, each) for each in wanted)


def _list_once(repo: str, revision: str) -> None:
    """List a repo in one request: `datasets` asks for each folder, unless this process knows them already."""
    from huggingface_hub import HfFileSystem

    HfFileSystem(endpoint=os.environ["HF_ENDPOINT"], token=os.environ.get("HF_TOKEN")).find(
        f"datasets/{repo}@{revision}", detail=True
    )


def _load(loadable: str, config: str, revision: str | None) -> Mapping[str, Any]:
    from datasets import load_dataset

    splits: Mapping[str, Any] = load_dataset(
        loadable,
        config,
        revision=revision,
        streaming=True,
        token=os.environ.get("HF_TOKEN"),
        batch_size=ROWS_TAKEN,  # it reads one batch ahead: of whole row groups, that would be the next file
    )
    return splits


def _first_rows(splits: Mapping[str, Any], wanted: Wanted) -> Loaded:
    try:
        if wanted.split not in splits:
            return Loaded(wanted.config, wanted.split, problem=f"it has the splits {', '.join(splits)} only")
        split = splits[wanted.split]
        rows = list(split.take(ROWS_TAKEN))
        columns = tuple(rows[0] if rows else split.features or ())
        return Loaded(wanted.config, wanted.split, columns, len(rows), rows[0].get(wanted.key) if rows else None)
    except Exception as error:  # noqa: BLE001  (whatever it is, a user of the release would meet it)
        return Loaded(wanted.config, wanted.split, problem=_in_one_line(error))


def _in_one_line(error: BaseException) -> str:
    """What is at the bottom of an error: `datasets` wraps what went wrong with a file in what it was doing."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(f"{type(error).__name__}: {error}".split())
    half = _ERROR_LENGTH // 2
    return text if len(text) <= _ERROR_LENGTH else f"{text[:half]} … {text[-half:]}"


def main(question: TextIO = sys.stdin, answer: TextIO = sys.stdout) -> None:
    """Answer one question, as JSON. What the libraries print goes to stderr."""
    sys.stdout = sys.stderr
    loaded = [asdict(each) for each in _answer(json.load(question))]
    json.dump(loaded, answer, default=str)
    answer.flush()
    os._exit(0)  # a stream that was left after its first rows may have threads that never end


if __name__ == "__main__":
    main()
