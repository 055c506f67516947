"""A data directory full of hostile records, and the pages over it behind a real server."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import polars as pl
import pyarrow as pa
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from nemo_assets.harmony import loss_spans_of_text
from nemo_assets.hub.sources import open_source
from nemo_assets.scoring.rows import SCORE_SCHEMA
from nemo_assets.settings import Settings
from nemo_assets.stages.deduped import dedupe
from nemo_assets.stages.duplicates import find_duplicates
from nemo_assets.stages.ledger import write_ledger
from nemo_assets.stages.normalized import normalize
from nemo_assets.stages.pools import build_pools
from nemo_assets.stages.raw import fetch_split
from nemo_assets.stages.signatures import sign
from nemo_assets.storage import Basis, Stage, Store, Unit
from nemo_assets.storage.parquet import write_part
from nemo_assets.web.app import mounted
from nemo_assets.web.guard import Guard
from nemo_assets_tests.lineage.chain import line, messages, write_lines

MCQ = "nemotron-science-v1/MCQ"

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)></bdi></div>"
BREAK_OUT = "\"'><img src=http://evil.example/x onerror=alert(4)>"
LINK = "[click](javascript:alert(5)) javascript:alert(6) <a href=javascript:alert(7)>here</a> http://evil.example/"
BIDI = "left \u202eright to left\u202c \u200b \ufeff \u2066 \u0007"
STYLE = (
    "<style>@import url(http://evil.example/css);body{display:none}</style><link rel=stylesheet href=//evil.example>"
)
TEMPLATE = "{{ 7 * 7 }}{% raw %}{{ request }}"
HOSTILE = (SCRIPT, BREAK_OUT, LINK, BIDI, STYLE, TEMPLATE)

_ANSWER = "It is well known that plants take up carbon dioxide by day and give off oxygen as they grow."


def hostile_lines() -> list[bytes]:
    """Kept rows, an exact duplicate, a row of 1 MB, and rejections, all with hostile text where text can be."""
    told = [
        line(
            uuid=f"{number}{text}",
            messages=messages(f"{text} Why?", f"{_ANSWER} {number} {text} {number}"),
            license=text,
        )
        for number, text in enumerate(HOSTILE)
    ]
    twin = line(uuid="twin", messages=messages(f"{SCRIPT} Why?", f"{_ANSWER} 0 {SCRIPT} 0"), license="other")
    large = line(uuid="large", messages=messages("Say it often.", " ".join(f"{SCRIPT}{n}" for n in range(12_000))))
    rejected = [
        json.dumps({"uuid": SCRIPT, BREAK_OUT: BIDI}).encode(),
        f'{{"uuid": "{SCRIPT}", "messages": [{BIDI}'.encode(),
        b"\xff\xfe\x00 <script>alert(8)</script>",
    ]
    return [*told, twin, large, *rejected]


def build_hostile(settings: Settings) -> Settings:
    """Take the hostile records through the stages, scored token by token; its ledger has an earlier version."""
    settings = replace(settings, source_dir=settings.data_dir.parent / "hub")
    assert settings.source_dir is not None
    for lines in (hostile_lines()[1:], hostile_lines()):
        write_lines(settings.source_dir / "nvidia/Nemotron-Science-v1/data/MCQ.jsonl", lines, True)
        _to_ledger(settings)
    build_pools(settings.catalog.split(MCQ), settings.catalog, settings.store)
    _score(settings.store)
    return settings


def _to_ledger(settings: Settings) -> None:
    split, store = settings.catalog.split(MCQ), settings.store
    fetch_split(split, open_source(split.repo, settings.source_dir), store)
    normalize(split, store)
    sign(split, settings.catalog, store)
    find_duplicates(split.scope, settings.catalog, store)
    dedupe(split, store)
    write_ledger(split, store)


def _score(store: Store) -> None:
    """Scores as a scorer writes them; a token is four characters, its NLL its number modulo 12."""
    rows = pl.read_parquet(store.paths(store.current(Stage.DEDUPED, MCQ)))
    scores = [_score_of(row, number) for number, row in enumerate(rows.iter_rows(named=True))]
    with store.staging(Stage.SCORED, MCQ, Basis({"texts": "t"}, {})) as staging:
        path = staging.target("scores.student", 0)
        count = write_part(path, pa.Table.from_pylist(scores, schema=SCORE_SCHEMA))
        staging.add(Unit(0, (staging.part("scores.student", path, count),)))
        staging.commit(counters={"checkpoints": {"student": {"rows": count, "nll_mean": 2.0}}})


def _score_of(row: dict[str, object], number: int) -> dict[str, object]:
    spans = loss_spans_of_text(row["text"], row["loss_mode"], row["loss_terminators"])  # type: ignore[arg-type]
    begins = [begin for span in spans for begin in range(span[0], span[1], 4)]
    return {
        "id": row["id"], "nll_mean": 1.0 + number, "nll_sum": 12.5, "completion_token_count": len(begins),
        "truncated": False, "status": "ok", "text_sha1": row["text_sha1"], "mask_sha1": row["mask_sha1"],
        "checkpoint": "student", "model": SCRIPT, "percentile_within_split": 50.0, "coverage_within_split": 1.0,
        "token_begins": begins, "token_nlls": [float(n % 12) for n in range(len(begins))],
    }  # fmt: skip


def guarded(settings: Settings) -> Starlette:
    """The pages as they are served, over these settings."""
    return Starlette(routes=mounted(lambda: settings, dagster=""), middleware=[Middleware(Guard)])


@contextlib.contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Serve an application on a free port of the loopback until the block ends; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
