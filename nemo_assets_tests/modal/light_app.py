"""An app with the face of `modal_jobs.nll_scoring` that needs no model; what the model is called says how it behaves.

Its scores are made up (the length of the text). For tests of what the client does, whose containers start in a second.
"""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import modal
import pyarrow.parquet as pq

from nemo_assets.errors import UserError
from nemo_assets.harmony.identity import sha1_text_id
from nemo_assets.scoring.engine import SCORER_VERSION
from nemo_assets.scoring.rows import Score, ScoreInput, inputs_of_table, table_of_scores
from nemo_assets.scoring.shards import VOLUME_NAME, output_of

APP = "light-scoring"

app = modal.App(APP)
scores = modal.Volume.from_name(VOLUME_NAME, create_if_missing=True, version=2)


@app.cls(volumes={"/vol": scores}, retries=1, max_containers=2)
class Scorer:
    """`fast`, `slow` (a second), `endless`, `failing`, `refusing`, `silent`, `moving` (another revision every time)."""

    model_id: str = modal.parameter()
    revision: str = modal.parameter(default="")
    max_length: int = modal.parameter(default=4096)
    batch_size: int = modal.parameter(default=64)
    token_budget: int = modal.parameter(default=16384)

    @modal.method()
    def score_shard(self, path: str) -> dict[str, float]:
        """Write made-up scores, or do not."""
        if self.model_id == "failing":
            raise RuntimeError("CUDA error: device-side assert triggered")
        if self.model_id == "refusing":
            raise UserError("the model cannot be loaded; set MODEL_NAME to one that can")
        if self.model_id == "silent":
            return {"rows": 4}
        time.sleep({"slow": 1.0, "endless": 600.0}.get(self.model_id, 0.0))
        volume = Path(os.environ["NEMO_SCORES_MOUNT"])
        scores.reload()
        rows = inputs_of_table(pq.read_table(volume / path))
        revision = path if self.model_id == "moving" else "1"
        write_scores([made_up_score(row, revision) for row in rows], volume / output_of(path))
        scores.commit()
        return {"rows": len(rows)}


def write_scores(made_up: list[Score], output: Path, version: str = SCORER_VERSION) -> None:
    """A complete file of scores."""
    output.parent.mkdir(parents=True, exist_ok=True)
    told = {"scorer_version": version, "seconds": "0.5", "tokens": "70"}
    pq.write_table(table_of_scores(made_up).replace_schema_metadata(told), output)


def made_up_score(row: ScoreInput, revision: str = "1") -> Score:
    """A score whose NLL is the length of the text."""
    values: dict[str, Any] = {
        field.name: {"int": 0, "bool": False, "str": ""}.get(str(field.type)) for field in dataclasses.fields(Score)
    }
    known = {"id": row.id, "text_sha1": sha1_text_id(row.text), "mask_sha1": row.mask_sha1, "revision": revision}
    return Score(**(values | known | {"status": "ok", "nll_mean": float(len(row.text)), "completion_token_count": 1}))
