"""The Modal app that scores shards of rows on GPUs.

Belongs here: image, hardware, volumes, and one class that loads a checkpoint and scores shard files. Does not:
scoring (`nemo_assets.scoring`), planning and collecting shards (`nemo_assets.scoring.modal`, which calls this app).

    modal deploy -m modal_jobs.nll_scoring

Annotations are not postponed here: Modal reads the types of class parameters from them.
"""

import os
from pathlib import Path

import modal

from nemo_assets.scoring.engine import Limits
from nemo_assets.scoring.model import load_checkpoint
from nemo_assets.scoring.shards import APP_NAME, VOLUME_NAME, score_shard_file

HOUR = 3600

SCORES_MOUNT = "/vol"
WEIGHTS_MOUNT = "/weights"

SCORES = Path(os.environ.get("NEMO_SCORES_MOUNT", SCORES_MOUNT))
"""Where the scores volume lies in a container. The variable is for machines that cannot mount at the root."""

PACKAGES = (
    "torch==2.13.0",
    "transformers==5.23.0",
    "accelerate==1.15.0",
    "kernels>=0.18.2,<0.19",  # without it transformers silently unpacks MXFP4 weights to four times their size
    "numpy>=2.0",
    "pyarrow>=26,<27",
    "jsonschema-rs>=0.60",  # this one and the next are imported by nemo_assets.harmony
    "msgspec>=0.20",
)

image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install(*PACKAGES)
    .env({"HF_HOME": WEIGHTS_MOUNT})
    .add_local_python_source("nemo_assets", "modal_jobs")
)

app = modal.App(APP_NAME)
scores = modal.Volume.from_name(VOLUME_NAME, create_if_missing=True, version=2)
weights = modal.Volume.from_name("nemo-model-weights", create_if_missing=True, version=2)


@app.cls(
    image=image,
    gpu="H200",  # gpt-oss-120b takes 65 GB, which leaves room for 32k tokens a forward pass
    volumes={SCORES_MOUNT: scores, WEIGHTS_MOUNT: weights},
    timeout=4 * HOUR,  # of one attempt at one shard; the default of 300 s would kill it
    startup_timeout=HOUR // 2,  # first download of the weights included
    retries=modal.Retries(max_retries=3, initial_delay=10.0, backoff_coefficient=2.0),
    max_containers=8,
    scaledown_window=120,
)
class Scorer:
    """One checkpoint in one container. Calls may be repeated: scores that exist are returned, not made again."""

    model_id: str = modal.parameter()
    revision: str = modal.parameter(default="")
    max_length: int = modal.parameter(default=4096)
    batch_size: int = modal.parameter(default=64)
    token_budget: int = modal.parameter(default=16384)

    @modal.enter()
    def load(self) -> None:
        """Load the checkpoint once; the weights stay on their volume for the next container."""
        self.loaded = load_checkpoint(self.model_id, self.revision or None, None)
        self.limits = Limits(max_length=self.max_length, batch_size=self.batch_size, token_budget=self.token_budget)
        if not modal.is_local():
            weights.commit()

    @modal.method()
    def score_shard(self, path: str) -> dict[str, int]:
        """Score the rows at `path` on the scores volume; the counts of `score_shard_file`."""
        if not modal.is_local():
            scores.reload()
        counts = score_shard_file(SCORES, path, self.loaded, self.limits)
        if not modal.is_local():
            scores.commit()
        return counts
