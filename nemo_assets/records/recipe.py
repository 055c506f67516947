"""What the rows of a split depend on besides the source: one digest a split.

The digest covers the catalog entry, the adapter, the template and the code they share. Code is compared as syntax
without comments and docstrings, so rewording a comment reruns nothing while any change of behaviour does.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import msgspec

from nemo_assets.catalog import Catalog, Split, policy_digest
from nemo_assets.storage.manifest import digest

_PACKAGE = Path(__file__).parent.parent

# A template module is one of its splits' own dependencies; everything else in these packages is shared by all splits.
_SHARED = ("harmony", "records")
_OWN = ("harmony/templates", "records/adapters")
_NOT_OF_ROWS = frozenset({"splits", "order", "title", "license", "dropped_text", "languages"})  # of a source's entry
_NOT_ROWS = ("recipe",)  # modules of `records` that nothing which `normalized` writes depends on


@lru_cache(maxsize=256)
def code_digest(path: Path) -> str:
    """Digest of what a Python file does: its syntax tree without docstrings, comments and layout."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def package_digest(*names: str, package: Path = _PACKAGE) -> str:
    """Digest of all modules of the named packages, and of single modules such as `dedup/tokens`; those with an owner of
    their own are left out.
    """
    files = sorted(path for name in names for path in _modules(package / name))
    shared = [path for path in files if not _owned(path.relative_to(package).as_posix()) and path.stem not in _NOT_ROWS]
    return digest([(path.relative_to(package).as_posix(), code_digest(path)) for path in shared])


def _modules(path: Path) -> Iterable[Path]:
    return path.rglob("*.py") if path.is_dir() else [path.with_name(f"{path.name}.py")]


def _owned(path: str) -> bool:
    return any(path.startswith(f"{own}/") and not path.endswith("/__init__.py") for own in _OWN)


def normalize_recipe(split: Split, package: Path = _PACKAGE) -> str:
    """Digest of what `normalized` does to this split: what is declared of it, and the code."""
    return digest(normalize_recipes(split, package))


def normalize_recipes(split: Split, package: Path = _PACKAGE) -> dict[str, str]:
    """The two halves of `normalize_recipe`: `catalog`, what is declared; `code`: adapter, templates, shared code."""
    source = split.source
    entry = {name: value for name, value in msgspec.structs.asdict(source).items() if name not in _NOT_OF_ROWS}
    adapter = package / "records" / "adapters" / f"{source.adapter}.py"
    code = {
        "adapter": code_digest(adapter),
        "templates": [code_digest(path) for path in template_modules(source.template, adapter, package)],
        "shared": package_digest(*_SHARED, package=package),
    }
    declared = {"entry": msgspec.to_builtins(entry), "split": msgspec.to_builtins(split.entry)}
    return {"catalog": digest(declared), "code": digest(code)}


def template_modules(template: str, adapter: Path, package: Path = _PACKAGE) -> list[Path]:
    """Modules of the templates a split uses: the one in the catalog, and any that its adapter names."""
    modules = {
        path.stem.replace("_", "-"): path for path in sorted((package / "harmony" / "templates").glob("[a-z]*.py"))
    }
    named = {node.value for node in ast.walk(ast.parse(adapter.read_text())) if isinstance(node, ast.Constant)}
    return [path for name, path in modules.items() if name == template or name in named]


def pools_recipe(catalog: Catalog) -> str:
    """Digest of the pool policy."""
    return digest(msgspec.to_builtins(catalog.pool_policy))


def recipe_version(catalog: Catalog, split: Split) -> str:
    """The data version of the `recipe` asset for this split: everything declared or coded that its data depend on."""
    checkpoints = {name: msgspec.to_builtins(c) for name, c in catalog.checkpoints.items()}
    evaluation_sets = msgspec.to_builtins(catalog.evaluation_sets)
    subsets = policy_digest(catalog.subset_policy)
    return digest([normalize_recipe(split), pools_recipe(catalog), checkpoints, evaluation_sets, subsets])
