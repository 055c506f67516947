"""What llama.cpp makes of texts: token ids and NLL, as a second opinion from code that shares nothing with ours.

    python -m nemo_assets_tests.scoring.llama_cpp MODEL.gguf < TEXTS.json

Texts are a list of strings; what it prints is a list of `{"ids": [...], "nlls": [...]}`, the NLL in nats of every token
but the first. A process of its own, for a library called with a wrong declaration ends the process.

The library is the one inside `xllamacpp`, which exports llama.cpp's C interface and runs on old systems; the
declarations are those of `llama-cpp-py-sync`, which must be of the same build, give or take a few (b11548 and b11549).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

REQUIREMENTS = ("xllamacpp==2026.10.11549", "llama-cpp-py-sync==0.11548")
THREADS = 1  # more than there are free cores make each wait for the others
FLOAT32 = 0  # GGML_TYPE_F32, for keys and values


def main() -> None:
    """Answer the texts on standard input."""
    from llama_cpp_py_sync._cffi_bindings import ffi

    library = ffi.dlopen(str(_library()))

    @ffi.callback("void(enum ggml_log_level, const char *, void *)")  # type: ignore[untyped-decorator]
    def silent(level: int, text: Any, data: Any) -> None:
        """No log: a failure shows in what a function returns."""

    library.llama_log_set(silent, ffi.NULL)
    library.llama_backend_init()
    options = library.llama_model_default_params()
    options.n_gpu_layers = 0
    model = library.llama_model_load_from_file(sys.argv[1].encode(), options)
    if model == ffi.NULL:
        raise SystemExit(f"llama.cpp cannot load {sys.argv[1]}")
    json.dump([_measured(text, model, ffi, library) for text in json.load(sys.stdin)], sys.stdout)


def _library() -> Path:
    """The shared library of `xllamacpp`, which need not be imported for it."""
    package = importlib.util.find_spec("xllamacpp")
    if package is None or package.origin is None:
        raise SystemExit(f"pip install {' '.join(REQUIREMENTS)}")
    return next(Path(package.origin).parent.glob("*.so"))


def _measured(text: str, model: Any, ffi: Any, library: Any) -> dict[str, list[Any]]:
    """Token ids of a text, and the NLL of all but the first."""
    vocabulary = library.llama_model_get_vocab(model)
    size = library.llama_vocab_n_tokens(vocabulary)
    data = text.encode()
    ids = ffi.new("llama_token[]", len(data) + 1)
    count = library.llama_tokenize(vocabulary, data, len(data), ids, len(data) + 1, False, True)
    logits = _logits(ids, count, size, model, ffi, library)[:-1].astype(np.float64)
    targets = np.array(list(ids[0:count]))[1:]
    top = logits.max(axis=1)
    lse = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    nlls = lse - logits[np.arange(count - 1), targets]
    return {"ids": list(ids[0:count]), "nlls": nlls.tolist()}


def _logits(ids: Any, count: int, size: int, model: Any, ffi: Any, library: Any) -> Any:
    """(count, size) float32 from one pass over the text in an empty context."""
    options = library.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = options.n_outputs_max = count
    options.n_threads = options.n_threads_batch = THREADS
    options.type_k = options.type_v = FLOAT32
    context = library.llama_init_from_model(model, options)
    batch = library.llama_batch_init(count, 0, 1)
    batch.n_tokens = count
    for at in range(count):
        batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.seq_id[at][0], batch.logits[at] = ids[at], at, 1, 0, 1
    if library.llama_decode(context, batch) != 0:
        raise SystemExit("llama.cpp fails to decode")
    logits = ffi.buffer(library.llama_get_logits(context), count * size * 4)
    copied = np.frombuffer(logits, dtype=np.float32).reshape(count, size).copy()
    library.llama_batch_free(batch)
    library.llama_free(context)
    return copied


if __name__ == "__main__":
    main()
