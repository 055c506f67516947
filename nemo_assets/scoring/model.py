"""Loading a checkpoint so that what was loaded can be named exactly.

Belongs here: the model, its tokenizer, their identity. Does not: using them (`forward`, `nll`). Importing this module
loads neither torch nor transformers; `load_checkpoint` does.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_assets.errors import UserError

if TYPE_CHECKING:
    from nemo_assets.scoring.forward import Way

_log = logging.getLogger(__name__)

IDENTITY_SUFFIXES = (".safetensors", ".bin", ".gguf", ".json", ".model", ".jinja")
"""Files of a model directory that can change a score: weights, configuration, tokenizer."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to score.

    `name` is the one on the Hub, or the last part of the directory: where a machine keeps it is no part of a score.
    `prefix_ids` are what its tokenizer puts before a text (a BOS, or nothing): context, never scored. `way` is how rows
    go through it (`forward.Way`), `precision` what the weights really are.
    """

    name: str
    model: Any
    tokenizer: Any
    revision_loaded: str
    tokenizer_sha256: str
    prefix_ids: tuple[int, ...]
    way: Way
    precision: str


def require_extra() -> None:
    """Raises UserError where PyTorch or transformers is not installed."""
    try:
        import torch
        import transformers
    except ImportError as missing:
        raise UserError(
            f"local scoring needs PyTorch and transformers ({missing.name} is not installed): "
            "pip install -e '.[score]', or set NEMO_SCORER=modal"
        ) from missing
    del torch, transformers


def load_checkpoint(model: str, revision: str | None, device: str | None) -> LoadedModel:
    """Load `model`, a name on the Hub or a directory, at `revision`.

    `device` None takes the GPU if there is one. A GPU loads the checkpoint's own precision, the CPU float32. The
    revision loaded is the Hub's commit, or for a directory the digest of its files; a directory given with a revision
    must have that digest.

    Raises:
        UserError: the extra is not installed, the model is not there, is not what `revision` says, has no fast
            tokenizer, or would be dequantised to several times its size.
    """
    directory_digest = _require_directory_revision(model, revision)
    require_extra()
    import torch

    from nemo_assets.scoring.forward import way_through

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer = _load_tokenizer(model, None if directory_digest else revision)
    loaded = _load_weights(model, None if directory_digest else revision, device)
    way = way_through(loaded)
    if way == "single":
        _log.warning("%s: %s is scored row by row, packing changes its result", model, type(loaded).__name__)
    return LoadedModel(
        name=Path(model).expanduser().resolve().name if directory_digest else model,
        model=loaded,
        tokenizer=tokenizer,
        revision_loaded=directory_digest or _hub_commit(model, loaded),
        tokenizer_sha256=hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        prefix_ids=_prefix_ids(tokenizer),
        way=way,
        precision=_precision(loaded),
    )


_kept: dict[tuple[str, str | None, str | None, str | None], LoadedModel] = {}


def load_checkpoint_once(model: str, revision: str | None, device: str | None) -> LoadedModel:
    """`load_checkpoint`, keeping the last model in memory for the next split; a changed directory is read again."""
    asked_for = (model, revision, device, _require_directory_revision(model, revision))
    if asked_for not in _kept:
        _kept.clear()  # before the next one is loaded: there may not be room for two
        _kept[asked_for] = load_checkpoint(model, revision, device)
    return _kept[asked_for]


def directory_revision(directory: Path) -> str:
    """`sha256:` and the digest over names and contents of the model's files in `directory`, in order of name."""
    digest = hashlib.sha256()
    for path in sorted(directory.iterdir()):
        if path.is_file() and path.suffix in IDENTITY_SUFFIXES:
            with path.open("rb") as file:
                digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _require_directory_revision(model: str, revision: str | None) -> str | None:
    """The revision of a model directory, None for a name on the Hub."""
    path = Path(model).expanduser()
    if not path.is_dir():
        if model.startswith(("/", ".", "~")):
            raise UserError(f"the model directory {model} does not exist; set MODEL_NAME to one that does")
        return None
    if not (path / "config.json").is_file():
        raise UserError(f"{model} holds no config.json; set MODEL_NAME to a directory in Hugging Face format")
    found = directory_revision(path)
    if revision is not None and revision != found:
        raise UserError(f"{model} is {found}, the checkpoint asks for {revision}; correct the revision or remove it")
    return found


def _load_tokenizer(model: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    tokenizer = _found(model, revision, AutoTokenizer.from_pretrained)
    if not tokenizer.is_fast:
        raise UserError(f"{model} has no fast tokenizer, and only those tell which characters a token covers")
    return tokenizer


def _load_weights(model: str, revision: str | None, device: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    on_gpu = device.startswith("cuda")
    placement = {"dtype": "auto", "device_map": {"": device}} if on_gpu else {"dtype": torch.float32}
    loaded = _found(model, revision, functools.partial(AutoModelForCausalLM.from_pretrained, **placement)).eval()
    quantization = getattr(loaded.config, "quantization_config", None)
    if on_gpu and "mxfp4" in str(quantization).lower() and _precision(loaded) != "mxfp4":
        raise UserError(
            f"{model} is stored in MXFP4 but was dequantised to bfloat16, about four times its size; "
            "install triton>=3.4 and the version of `kernels` that transformers asks for"
        )
    return loaded


def _precision(loaded: Any) -> str:
    """What the weights of the loaded model are."""
    if any("Mxfp4" in type(module).__name__ for module in loaded.modules()):
        return "mxfp4"
    return str(next(loaded.parameters()).dtype).removeprefix("torch.")


def _found(model: str, revision: str | None, load: Callable[..., Any]) -> Any:
    """What `load` returns, with transformers' many ways of saying "not there" turned into one line."""
    try:
        with quiet_transformers():
            return load(model, **({"revision": revision} if revision else {}))
    except (OSError, ValueError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        at = f" at revision {revision}" if revision else ""
        raise UserError(
            f"the model {model}{at} cannot be loaded: {lines[0]} Set MODEL_NAME to one that can."
        ) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars of transformers: progress is told through `nemo_assets.progress`."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _hub_commit(model: str, loaded: Any) -> str:
    commit = getattr(loaded.config, "_commit_hash", None)
    if not commit:
        raise UserError(f"{model} was loaded, but from where cannot be told; give a Hub name or a directory")
    return str(commit)


def _prefix_ids(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer adds before a text: a BOS for Llama and Gemma, nothing for gpt-oss."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    decorated = tokenizer("a", add_special_tokens=True)["input_ids"]
    before = next((at for at in range(len(decorated) - len(plain) + 1) if decorated[at : at + len(plain)] == plain), 0)
    return tuple(decorated[:before])
