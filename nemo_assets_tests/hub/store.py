"""What the test Hub holds: dataset repos with real git object ids, their history, and large files by sha256.

Belongs here: content and history. Does not: the wire protocol (`server`), failures (`faults`).
"""

from __future__ import annotations

import fnmatch
import hashlib
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

REGULAR_LIMIT_BYTES = 10 * 1024 * 1024  # git holds smaller text files itself
FOLDER_LIMIT = 10_000  # entries of one directory that the Hub accepts
OPERATIONS_LIMIT = 25_000  # of one commit
LARGE_PATTERNS = ("*.7z", "*.arrow", "*.bin", "*.gz", "*.npy", "*.npz", "*.parquet", "*.png", "*.tar", "*.zip", "*.zst")
GITATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LARGE_PATTERNS).encode()

MAIN = "main"
_NAMES_OF_MAIN = (MAIN, "HEAD", "refs/heads/main")


class HubError(Exception):
    """An answer with an error status, as the Hub words it: `code` goes to X-Error-Code."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        body: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.body = dict(body or {})
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Entry:
    """A file of a tree: its git blob id (of the pointer, for a large file), its size in bytes, its sha256 if large."""

    blob_id: str
    size: int
    large: str | None = None

    @property
    def content_id(self) -> str:
        return self.large or self.blob_id


@dataclass(frozen=True)
class Node:
    """A file or a directory as a listing shows it; a directory has no entry."""

    path: str
    oid: str
    entry: Entry | None


@dataclass(frozen=True)
class Commit:
    parent: str | None
    files: Mapping[str, Entry]
    title: str
    message: str
    author: str
    date: str


@dataclass
class Lag:
    """An older head, and how many more reads of `main` still see it; its commit may be gone from the history by now."""

    oid: str
    commit: Commit
    reads: int


@dataclass
class Repository:
    """A repo; `branches` and `tags` map a name to a commit id."""

    repo_id: str
    private: bool
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    lag: Lag | None = None

    @property
    def head(self) -> str:
        """The commit that `main` points to."""
        return self.branches[MAIN]

    def seen(self, revision: str) -> tuple[str, Commit]:
        """What a reader gets to see for a revision: `resolve`, but a stale head as long as one was asked for."""
        lag = self.lag
        if lag is not None and lag.reads > 0 and revision in _NAMES_OF_MAIN:
            lag.reads -= 1
            return lag.oid, lag.commit
        oid = self.resolve(revision)
        return oid, self.commits[oid]

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag, or a full or shortened commit id names."""
        if revision in _NAMES_OF_MAIN:
            return self.head
        for named in (self.branches, self.tags):
            if revision in named:
                return named[revision]
        found = [
            commit
            for commit in self.commits
            if re.fullmatch("[0-9a-f]{7,40}", revision) and commit.startswith(revision)
        ]
        if len(found) != 1:
            raise HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found[0]

    def history(self, revision: str) -> list[tuple[str, Commit]]:
        """The commits from `revision` back to the first."""
        oid, commit = self.seen(revision)
        found = [(oid, commit)]
        while commit.parent and commit.parent in self.commits:
            commit = self.commits[commit.parent]
            found.append((found[-1][1].parent or "", commit))
        return found


class Store:
    """All repos of a test Hub; bytes lie below `root`, the rest in memory.

    What limits writers, for a test to change: `namespaces` are those that a token may create repos in, None for all;
    `hidden` are names taken by repos that nobody here may see; `operations_limit` is of one commit; `storage_limit` is
    how many bytes all large files may have together, None for any number.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.namespaces: set[str] | None = None
        self.hidden: set[str] = set()
        self.operations_limit = OPERATIONS_LIMIT
        self.storage_limit: int | None = None
        self.lock = threading.RLock()
        self.repositories: dict[str, Repository] = {}
        for folder in ("blobs", "large", "incoming"):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def put_blob(self, content: bytes) -> str:
        """Keep the bytes of a regular file; their git blob id."""
        blob_id = git_id("blob", content)
        (self.root / "blobs" / blob_id).write_bytes(content)
        return blob_id

    def put_large(self, content: bytes) -> str:
        """Keep the bytes of a large file; their sha256."""
        oid = hashlib.sha256(content).hexdigest()
        self.large_path(oid).write_bytes(content)
        return oid

    def large_path(self, oid: str) -> Path:
        return self.root / "large" / oid

    def content_path(self, entry: Entry) -> Path:
        return self.large_path(entry.large) if entry.large else self.root / "blobs" / entry.blob_id

    def regular_entry(self, content: bytes) -> Entry:
        return Entry(self.put_blob(content), len(content))

    def large_entry(self, oid: str, size: int | None = None) -> Entry:
        """The entry of an uploaded large file, refused unless it is there with that size."""
        path = self.large_path(oid)
        if not path.exists() or (size is not None and path.stat().st_size != size):
            raise HubError(400, "Your push was rejected because an LFS pointer pointed to a file that does not exist")
        pointer = large_pointer(oid, path.stat().st_size)
        return Entry(self.put_blob(pointer), path.stat().st_size, oid)

    def create(self, repo_id: str, private: bool, author: str) -> Repository:
        """A new repo with its first commit, which holds `.gitattributes` alone, as on the Hub."""
        repository = Repository(repo_id, private)
        self.repositories[repo_id] = repository
        self.commit(repository, {".gitattributes": self.regular_entry(GITATTRIBUTES)}, "initial commit", "", author)
        return repository

    def seed(
        self,
        repo_id: str,
        contents: Mapping[str, bytes],
        title: str = "Add files",
        private: bool = False,
        removed: Iterable[str] = (),
    ) -> str:
        """Commit files to a repo, creating it when needed, without going over the wire; the commit id.

        Paths in `removed` are deleted in the same commit.
        """
        with self.lock:
            repository = self.repositories.get(repo_id) or self.create(repo_id, private, "owner")
            files = dict(repository.commits[repository.head].files)
            for path in removed:
                del files[path]
            for path, content in contents.items():
                large = self.is_large(repository, path, content[:512], len(content))
                files[path] = self.large_entry(self.put_large(content)) if large else self.regular_entry(content)
            return self.commit(repository, files, title, "", "owner")

    def squash(self, repo_id: str, title: str = "Super-squash branch 'main'") -> str:
        """Make the head's files the one and only commit of `main`, and return its id.

        Older commit ids name nothing any more, unless another branch or a tag holds them.
        """
        with self.lock:
            repository = self.repositories[repo_id]
            files = repository.commits[repository.head].files
            before = set(repository.commits)
            del repository.branches[MAIN]
            oid = self.commit(repository, files, title, "", "owner")
            named = [name for name in (*repository.branches, *repository.tags) if name != MAIN]
            for old in before - {kept for name in named for kept, _ in repository.history(name)}:
                del repository.commits[old]
            return oid

    def lag(self, repo_id: str, commit: str, reads: int) -> None:
        """Let the next `reads` reads of `main` answer `commit` although the head is a later one, as a cache would.

        A read is any request that names `main` (or no revision): dataset_info, tree, resolve (HEAD too), commits, refs.
        Reads by commit id and commits themselves are not affected. Call it before or after the newer commit is made,
        also before a squash that removes `commit`.
        """
        repository = self.repositories[repo_id]
        repository.lag = Lag(commit, repository.commits[commit], reads)

    def repository(self, repo_id: str, user: str | None) -> Repository:
        """The repo as `user` sees it: a private one does not exist for a stranger."""
        repository = self.repositories.get(repo_id)
        if repository is None or (repository.private and user is None):
            raise HubError(401 if user is None else 404, "Repository not found", "RepoNotFound")
        return repository

    def is_large(self, repository: Repository, path: str, sample: bytes, size: int) -> bool:
        """Whether a file goes to large file storage: by `.gitattributes`, by size, or because it is binary."""
        attributes = repository.commits[repository.head].files.get(".gitattributes")
        lines = _text_at(self.content_path(attributes)).splitlines() if attributes else []
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
        name = path.rpartition("/")[2]
        if size == 0:
            return False
        return (
            size > REGULAR_LIMIT_BYTES or b"\0" in sample or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        )

    def large_bytes(self) -> int:
        """What all large files take together."""
        return sum(path.stat().st_size for path in (self.root / "large").iterdir())

    def commit(
        self,
        repository: Repository,
        files: Mapping[str, Entry],
        title: str,
        message: str,
        author: str,
        branch: str = MAIN,
    ) -> str:
        """Make `files` the new head of a branch."""
        folders: dict[str, int] = {}
        for path in files:
            folder = path.rpartition("/")[0]
            folders[folder] = folders.get(folder, 0) + 1
        if max(folders.values(), default=0) > FOLDER_LIMIT:
            raise HubError(400, "Your push was rejected because it contains too many files per directory.")
        parent = repository.branches.get(branch)
        date = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = [f"tree {root_id(files)}", *([f"parent {parent}"] if parent else []), f"author {author} {date}"]
        body = "\n".join([*lines, f"nonce {len(repository.commits)}", "", title, "", message])
        oid = git_id("commit", body.encode())
        repository.commits[oid] = Commit(parent, dict(files), title, message, author, date)
        repository.branches[branch] = oid
        return oid


@lru_cache(maxsize=16)
def _text_at(path: Path) -> str:
    """The text of a blob, which is named by its content."""
    return path.read_text()


def git_id(kind: str, content: bytes) -> str:
    """The object id git gives to `content`."""
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def large_pointer(oid: str, size: int) -> bytes:
    """What git holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


def folders_of(files: Mapping[str, Entry]) -> dict[str, dict[str, Node]]:
    """Directory → name → node, with real git tree ids; the root directory is ``""``."""
    folders: dict[str, dict[str, Node]] = {"": {}}
    for path, entry in files.items():
        folder, _, name = path.rpartition("/")
        _add_folder(folders, folder)
        folders[folder][name] = Node(path, entry.blob_id, entry)
    for folder in sorted(folders, key=lambda folder: -len(folder.split("/"))):  # a tree id needs those below it
        if folder:
            parent, _, name = folder.rpartition("/")
            folders[parent][name] = replace(folders[parent][name], oid=tree_id(folders[folder].items()))
    return folders


def _add_folder(folders: dict[str, dict[str, Node]], folder: str) -> None:
    if folder in folders:
        return
    parent, _, name = folder.rpartition("/")
    _add_folder(folders, parent)
    folders[folder] = {}
    folders[parent][name] = Node(folder, "", None)


def root_id(files: Mapping[str, Entry]) -> str:
    return tree_id(folders_of(files)[""].items())


def tree_id(nodes: Iterable[tuple[str, Node]]) -> str:
    """The git id of a directory: git sorts a directory as if its name ended in a slash."""
    ordered = sorted(nodes, key=lambda item: item[0] + ("" if item[1].entry else "/"))
    body = b"".join(
        (b"100644 " if node.entry else b"40000 ") + name.encode() + b"\0" + bytes.fromhex(node.oid)
        for name, node in ordered
    )
    return git_id("tree", body)
