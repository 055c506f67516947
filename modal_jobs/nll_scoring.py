"""The Modal app that scores rows on GPUs: shards that the asset `scored` uploads, or the files of a dataset on the Hub.

Belongs here: image, hardware, volumes, one class that loads a checkpoint and scores files, `modal run`. Does not:
scoring (`nemo_assets.scoring`), planning and collecting shards (`nemo_assets.scoring.modal`, which calls this app).

    modal deploy -m modal_jobs.nll_scoring     # once, for the asset
    CANDIDATE_DATASET_ID=org/dataset HF_TOKEN=... modal run modal_jobs/nll_scoring.py

The second scores the Parquet files of a dataset below CANDIDATE_SUBDIR under MODEL_NAME, with MAX_LENGTH, BATCH_SIZE
and MAX_RECORDS, and leaves the scores on the volume. Percentiles need all rows of a split; the asset computes those.

Annotations are not postponed here: Modal reads the types of class parameters from them.
"""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import modal

from nemo_assets.errors import UserError
from nemo_assets.scoring.engine import CheckpointRef, Limits
from nemo_assets.scoring.model import directory_revision, load_checkpoint
from nemo_assets.scoring.shards import (
    APP_NAME,
    VOLUME_NAME,
    Counts,
    require_columns,
    run_directory,
    score_parquet_file,
    score_shard_file,
)

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
    gpu=["H200", "H100"],  # gpt-oss-120b takes 65 GB; the second choice has little room beside it, but enough
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
        self.checkpoint = CheckpointRef(self.model_id, self.model_id, self.revision or None)
        self.loaded = load_checkpoint(self.model_id, self.checkpoint.revision, None)
        self.limits = Limits(max_length=self.max_length, batch_size=self.batch_size, token_budget=self.token_budget)
        if not modal.is_local():
            weights.commit()

    @modal.method()
    def score_shard(self, path: str) -> Counts:
        """Score the rows at `path` on the scores volume; counts of what lies there then."""
        _reload()
        counts = score_shard_file(SCORES, path, self.loaded, self.limits)
        _commit()
        return counts

    @modal.method()
    def score_hub_file(self, dataset: str, revision: str, path: str, max_records: int | None) -> Counts:
        """Score a Parquet file of a dataset on the Hub at a commit, or `max_records` rows of it; counts as above."""
        from huggingface_hub import hf_hub_download

        _reload()
        output = SCORES / run_directory(dataset, revision, self.checkpoint, self.limits) / Path(path).with_suffix("")
        with tempfile.TemporaryDirectory() as directory:
            rows = hf_hub_download(dataset, path, repo_type="dataset", revision=revision, local_dir=directory)
            return score_parquet_file(Path(rows), output, self.loaded, self.limits, max_records, _commit)


def _reload() -> None:
    """See what other containers have scored."""
    if not modal.is_local():
        scores.reload()


def _commit() -> None:
    """Have others see what this container has scored."""
    if not modal.is_local():
        scores.commit()


# modal run


@app.local_entrypoint()
def main() -> None:
    """Score the dataset that the environment names; what was scored before is not scored again."""
    try:
        _score_dataset(os.environ)
    except UserError as error:
        raise SystemExit(f"Error: {error}") from None


def _score_dataset(env: Mapping[str, str]) -> None:
    import click  # Modal's own command line runs on it

    dataset = env.get("CANDIDATE_DATASET_ID")
    if not dataset:
        raise UserError("CANDIDATE_DATASET_ID is not set; set it to the dataset on the Hub to score, as in org/name")
    limits, max_records = _limits(env), _number(env, "MAX_RECORDS")
    revision, rows_of = _files(dataset, (env.get("CANDIDATE_SUBDIR") or "").strip("/"))
    model = env.get("MODEL_NAME") or "unsloth/gpt-oss-120b"
    checkpoint = CheckpointRef(model, model, _model_revision(model))
    click.echo(f"{dataset} at {revision}: {len(rows_of)} files, {sum(rows_of.values())} rows")
    click.echo(f"{model} at {checkpoint.revision}, at most {limits.max_length} tokens a row")
    secret = modal.Secret.from_dict({name: env[name] for name in ("HF_TOKEN", "HF_ENDPOINT") if env.get(name)})
    deployed: Any = Scorer  # what Modal's decorator has made of it
    scorer = deployed.with_options(secrets=[secret])(
        model_id=model,
        revision=checkpoint.revision or "",
        max_length=limits.max_length,
        batch_size=limits.batch_size,
        token_budget=limits.token_budget,
    )
    calls = {
        path: scorer.score_hub_file.spawn(dataset, revision, path, share)
        for path, share in _shares(rows_of, max_records).items()
    }
    counts = []
    for path, call in calls.items():
        counts.append(call.get())
        click.echo(f"{path}: {_summary(counts[-1:])}")
    click.echo(f"all: {_summary(counts)}")
    click.echo(f"scores: modal volume get {VOLUME_NAME} {run_directory(dataset, revision, checkpoint, limits)}")
    click.echo("without percentile_within_split, which needs the whole split: the asset `scored` computes it")


def _limits(env: Mapping[str, str]) -> Limits:
    max_length = _number(env, "MAX_LENGTH") or Limits.max_length
    batch_size = _number(env, "BATCH_SIZE") or Limits.batch_size
    return Limits(max_length, batch_size, max(Limits.token_budget, max_length))


def _number(env: Mapping[str, str], name: str) -> int | None:
    value = env.get(name)
    if value and not (value.isdecimal() and int(value) > 0):
        raise UserError(f"{name}={value}: set it to a whole number of 1 or more")
    return int(value) if value else None


def _files(dataset: str, below: str) -> tuple[str, dict[str, int]]:
    """The commit that `main` is, and rows by path of its Parquet files below a folder."""
    import pyarrow.parquet as pq
    from huggingface_hub import HfApi, HfFileSystem
    from huggingface_hub.errors import HfHubHTTPError

    try:
        revision = HfApi().dataset_info(dataset, expand=["sha"]).sha
        names = HfApi().list_repo_files(dataset, repo_type="dataset", revision=revision)
    except (HfHubHTTPError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"CANDIDATE_DATASET_ID={dataset} cannot be read ({reason}); a private one needs HF_TOKEN"
        ) from None
    paths = [name for name in names if name.endswith(".parquet") and name.startswith(f"{below}/" if below else "")]
    if not paths:
        raise UserError(f"{dataset} has no Parquet files below {below or 'its root'}; set CANDIDATE_SUBDIR to a folder")
    files = HfFileSystem()

    def rows(path: str) -> int:
        with files.open(f"datasets/{dataset}@{revision}/{path}") as file:
            metadata = pq.read_metadata(file)
        require_columns(f"{dataset}/{path}", metadata.schema.to_arrow_schema())
        return int(metadata.num_rows)

    with ThreadPoolExecutor(8) as readers:
        return str(revision), dict(zip(paths, readers.map(rows, paths), strict=True))


def _model_revision(model: str) -> str | None:
    """What pins the model: its commit, or the digest of a directory."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if Path(model).is_dir():
        return directory_revision(Path(model))
    try:
        return HfApi().model_info(model, expand=["sha"]).sha
    except (HfHubHTTPError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"MODEL_NAME={model} cannot be read ({reason}); a gated model needs HF_TOKEN") from None


def _shares(rows_of: Mapping[str, int], max_records: int | None) -> dict[str, int | None]:
    """How many rows of each file are scored (None: all): the same share of each, `max_records` in all.

    What is left after rounding down goes to files in order of the SHA-1 of their path. Files without a share are left
    out.
    """
    total = sum(rows_of.values())
    if max_records is None or max_records >= total:
        return dict.fromkeys(rows_of)
    shares = {path: max_records * rows // total for path, rows in rows_of.items()}
    shuffled = sorted(rows_of, key=lambda path: hashlib.sha1(path.encode()).digest())
    left = max_records - sum(shares.values())
    for path in [path for path in shuffled if shares[path] < rows_of[path]][:left]:
        shares[path] += 1
    return {path: share for path, share in shares.items() if share}


def _summary(counts: Sequence[Counts]) -> str:
    """One line."""
    rows, scored, nlls, tokens, seconds = (
        sum(count[name] for count in counts) for name in ("rows", "scored", "nll_means", "tokens", "seconds")
    )
    mean = f"mean nll_mean {nlls / scored:.4f}" if scored else "no NLL"
    return f"{rows:.0f} rows, {scored:.0f} scored, {mean}, {tokens / max(seconds, 1e-9):,.0f} tokens/s a container"
