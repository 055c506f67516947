"""Publishing into a directory that is laid out as the Hub repo would be.

`<root>/<org>/<name>` is what a person and `load_dataset` open: a link to the tree of the head of `main`. The machinery
lies beside it, in `<root>/<org>/.<name>/`:

    blobs/<sha256>     every content once, read-only
    trees/<commit>/    the files of a commit as on the Hub, hard links to the blobs; never changed afterwards
    commits.jsonl      one line a commit; one that no branch or tag leads to is of a killed process and means nothing
    refs.json          branches and tags: what is published
    lock               held by whoever writes

A commit stores its blobs, builds its tree, appends its line, and replaces `refs.json`: that is the moment it is
published. Then the link is replaced by a rename; if a kill comes between, whoever asks for the head next does it. So a
process that has resolved the link, or asked for `loadable`, reads one commit for as long as it likes. A commit id is
the digest of its content and history, and is checked whenever the log is read.

A file to publish is linked, and takes no room twice, if nobody has the right to write to it: by taking that right away
its maker says that it is finished. Any other file may change later and is copied. To take a repo away, delete both
`<name>` and `.<name>`.

Belongs here: making a commit of many files atomic on a plain file system, and older commits readable.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from nemo_assets.disk import content_sha256, copy_hashed, disk_told, locked, sha256_of, write_durably
from nemo_assets.errors import UserError
from nemo_assets.hub.sources import require_repo_id
from nemo_assets.hub.targets import FOLDER_ENTRIES, MAIN, Change, HeadMovedError, Refs, TagTakenError
from nemo_assets.progress import Meter, track

_log = logging.getLogger(__name__)

_OLD_LOG = ".commits.jsonl"  # what a repo published before trees were linked has in itself
_PARTIAL = "partial"  # one writer at a time, so one name is enough
_CANNOT_LINK = (errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS)
_READ_ONLY, _WRITABLE = 0o444, 0o222


@dataclass(frozen=True)
class _Entry:
    """A line of the log: a commit and what it changed."""

    commit: str
    parent: str | None
    added: dict[str, str]
    deleted: list[str]
    summary: str
    description: str


@dataclass(frozen=True)
class _Tag:
    commit: str
    message: str = ""


@dataclass(frozen=True)
class _Refs:
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, _Tag] = field(default_factory=dict)


@dataclass(frozen=True)
class DirectoryTarget:
    """Repos at `root/<org>/<name>`, each with its machinery in `root/<org>/.<name>`."""

    root: Path

    def location(self, repo_id: str) -> str:
        return str(self.root / repo_id)

    def require_writable(self, repo_id: str) -> None:
        """Raise UserError where something else lies; whether the disk takes it shows when it is written."""
        self._repository(repo_id).require_ours()

    def head(self, repo_id: str, branch: str = MAIN) -> str | None:
        repository = self._repository(repo_id)
        refs = repository.refs()
        if not repository.shows(refs.branches.get(MAIN)):
            with contextlib.suppress(UserError):  # who may only read is still told the head
                repository.mend_link()
        return refs.branches.get(branch)

    def paths(self, repo_id: str, revision: str) -> dict[str, str]:
        """Path → sha256 of every file whose bytes are still there. Files taken out of the tree are put back."""
        repository = self._repository(repo_id)
        commit, files = repository.at(revision)
        repository.mend_tree(commit, files)
        return {path: sha256 for path, sha256 in files.items() if repository.blob(sha256).is_file()}

    def read(self, repo_id: str, path: str, revision: str) -> bytes | None:
        repository = self._repository(repo_id)
        sha256 = repository.at(revision)[1].get(path)
        if sha256 is None:
            return None
        with repository.open_blob(sha256, path) as file:
            content = file.read()
        if content_sha256(content) != sha256:
            raise UserError(
                f"{repository.directory / path} is not what was published there. "
                f"Delete {repository.blob(sha256)} and publish again."
            )
        return content

    def open(self, repo_id: str, path: str, revision: str) -> AbstractContextManager[BinaryIO]:
        repository = self._repository(repo_id)
        sha256 = repository.at(revision)[1].get(path)
        if sha256 is None:
            raise UserError(f"{repository.directory} has no file {path} at {revision}. Look at the files it has.")
        return repository.open_blob(sha256, path)

    def commit(self, repo_id: str, change: Change, parent: str | None, branch: str = MAIN) -> str:
        require_repo_id(repo_id)
        repository = self._repository(repo_id)
        repository.require_ours()
        digests = {path: content_sha256(content) for path, content in sorted(change.additions.items())}
        with repository.writing():
            history = repository.history()
            history.require_head(branch, parent)
            entry, files = history.next_entry(change, digests, parent)
            _require_room(repository.directory, files)
            repository.sweep(history, set(files.values()))
            repository.show(history.refs.branches.get(MAIN))  # where a killed process had no time to
            repository.store(change.additions, digests)
            commit = entry.commit if entry else str(parent)
            repository.link_tree(commit, files)
            if entry and commit not in history.entries:
                repository.append(entry)
            repository.publish(_Refs({**history.refs.branches, branch: commit}, history.refs.tags))
            return commit

    def delete_branch(self, repo_id: str, branch: str) -> None:
        """Take a branch away, and the bytes that only it held.

        Raises:
            ValueError: it is the branch that readers see.
        """
        if branch == MAIN:
            raise ValueError(f"{MAIN} is what readers see")
        repository = self._repository(repo_id)
        if branch not in repository.refs().branches:
            return
        with repository.writing():
            refs = repository.refs()
            refs.branches.pop(branch, None)
            repository.publish(refs)
            repository.sweep(repository.history(), set())

    def refs(self, repo_id: str) -> Refs:
        refs = self._repository(repo_id).refs()
        tags = {name: tag.commit for name, tag in sorted(refs.tags.items())}
        return Refs(dict(sorted(refs.branches.items())), tags)

    def set_tag(self, repo_id: str, tag: str, revision: str, message: str = "") -> None:
        repository = self._repository(repo_id)
        repository.history().commit_of(revision)  # before a repo that does not exist is written to
        with repository.writing():
            history = repository.history()
            commit = history.commit_of(revision)
            taken = history.refs.tags.get(tag)
            if taken is not None and taken.commit != commit:
                raise TagTakenError(self.location(repo_id), tag, taken.commit)
            if taken is None:
                repository.publish(_Refs(history.refs.branches, {**history.refs.tags, tag: _Tag(commit, message)}))

    def loadable(self, repo_id: str, revision: str) -> str:
        """The path of the tree of a commit, which later commits leave alone."""
        repository = self._repository(repo_id)
        commit, files = repository.at(revision)
        repository.mend_tree(commit, files)
        return str(repository.tree(commit))

    def url(self, repo_id: str, revision: str | None = None) -> str:
        return (self.root / repo_id).absolute().as_uri()

    def _repository(self, repo_id: str) -> _Repository:
        return _Repository(self.root / repo_id)


@dataclass(frozen=True)
class _History:
    """What is published, as read at one moment."""

    directory: Path
    refs: _Refs
    entries: Mapping[str, _Entry]

    def require_head(self, branch: str, parent: str | None) -> None:
        """Raise HeadMovedError unless the branch is at `parent`, or can begin there."""
        head = self.refs.branches.get(branch)
        begins = parent in self.reachable() if parent else MAIN not in self.refs.branches
        if not begins if head is None else head != parent:
            raise HeadMovedError(str(self.directory), parent, head or self.refs.branches.get(MAIN))

    def commit_of(self, revision: str) -> str:
        """The commit that a branch, a tag or its own id names."""
        tag = self.refs.tags.get(revision)
        commit = self.refs.branches.get(revision) or (tag.commit if tag else revision)
        if commit not in self.reachable():
            raise UserError(f"{self.directory} has no revision {revision}. Name one of its commits, tags or branches.")
        return commit

    def reachable(self) -> set[str]:
        """The commits that a branch or a tag leads to."""
        found: set[str] = set()
        for tip in (*self.refs.branches.values(), *(tag.commit for tag in self.refs.tags.values())):
            commit: str | None = tip
            while commit is not None and commit not in found:
                found.add(commit)
                commit = self._entry(commit).parent
        return found

    def files_at(self, commit: str) -> dict[str, str]:
        """Path → sha256, checked against the commit id."""
        lineage = [self._entry(commit)]
        while (parent := lineage[-1].parent) is not None:
            lineage.append(self._entry(parent))
        files: dict[str, str] = {}
        for entry in reversed(lineage):
            files.update(entry.added)
            for path in entry.deleted:
                files.pop(path, None)
        last = lineage[0]
        if _commit_id(last.parent, files, last.summary, last.description) != commit:
            raise self._damaged(commit)
        return dict(sorted(files.items()))

    def next_entry(
        self, change: Change, digests: Mapping[str, str], parent: str | None
    ) -> tuple[_Entry | None, dict[str, str]]:
        """The commit of `change` on `parent`, None if that changes nothing, and the files there are afterwards."""
        before = self.files_at(parent) if parent else {}
        wanted = {**digests, **{path: self._restored(path, of) for path, of in change.restored.items()}}
        added = {path: sha256 for path, sha256 in sorted(wanted.items()) if before.get(path) != sha256}
        deleted = sorted(path for path in set(change.deletions) if path in before)
        files = {path: sha256 for path, sha256 in sorted({**before, **added}.items()) if path not in set(deleted)}
        if parent is not None and not added and not deleted:
            return None, files
        commit = _commit_id(parent, files, change.summary, change.description)
        return _Entry(commit, parent, added, deleted, change.summary, change.description), files

    def _restored(self, path: str, revision: str) -> str:
        sha256 = self.files_at(self.commit_of(revision)).get(path)
        if sha256 is None:
            raise UserError(f"{self.directory} has no file {path} at {revision} to bring back. Name another revision.")
        return sha256

    def _entry(self, commit: str) -> _Entry:
        entry = self.entries.get(commit)
        if entry is None:
            raise self._damaged(commit)
        return entry

    def _damaged(self, commit: str) -> UserError:
        machinery = _Repository(self.directory).machinery
        return UserError(
            f"{machinery / 'commits.jsonl'}: commit {commit} is missing or damaged. "
            f"Bring the file back, or delete {machinery} and publish again."
        )


@dataclass(frozen=True)
class _Repository:
    """The files of one repo. What writes needs the lock of `writing`, unless it says that it takes it."""

    directory: Path

    @property
    def machinery(self) -> Path:
        return self.directory.with_name(f".{self.directory.name}")

    def blob(self, sha256: str) -> Path:
        return self.machinery / "blobs" / sha256

    def tree(self, commit: str) -> Path:
        return self.machinery / "trees" / commit

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the repo against other writers; what a user can mend about the disk is told."""
        with disk_told(self.directory):
            for folder in ("blobs", "trees"):
                (self.machinery / folder).mkdir(parents=True, exist_ok=True)
            with locked(self.machinery / "lock"):
                yield

    def require_ours(self) -> None:
        """Raise UserError if something lies at the place of the link that this target did not put there."""
        if self.directory.is_symlink():
            if self.directory.readlink().parent.parent.name == self.machinery.name:
                return
        elif not self.directory.exists():
            return
        elif (self.directory / _OLD_LOG).exists():
            raise UserError(
                f"{self.directory} was published in a form that is no longer written. "
                "Delete it, or set NEMO_PUBLISH_TO to another directory, and publish again."
            )
        raise UserError(
            f"{self.directory} was not put there by publishing. Move it away, or set NEMO_PUBLISH_TO elsewhere."
        )

    def refs(self) -> _Refs:
        path = self.machinery / "refs.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=_Refs)
        except (FileNotFoundError, NotADirectoryError):
            return _Refs()
        except msgspec.MsgspecError as error:
            raise UserError(
                f"{path} is damaged ({error}). Bring it back, or delete {self.machinery} and publish again."
            ) from error

    def history(self) -> _History:
        """Refs first: a commit is in the log before a ref names it."""
        refs, log = self.refs(), self.machinery / "commits.jsonl"
        entries = {}
        for line in _whole_lines(log.read_bytes()).splitlines() if log.exists() else ():
            with contextlib.suppress(msgspec.MsgspecError):  # a damaged line is a commit that is missing
                entry = msgspec.json.decode(line, type=_Entry)
                entries[entry.commit] = entry
        return _History(self.directory, refs, entries)

    def at(self, revision: str) -> tuple[str, dict[str, str]]:
        """The commit that `revision` names, and its files."""
        history = self.history()
        commit = history.commit_of(revision)
        return commit, history.files_at(commit)

    def open_blob(self, sha256: str, path: str) -> BinaryIO:
        try:
            return self.blob(sha256).open("rb")
        except FileNotFoundError:
            raise UserError(f"{self.directory / path}: its bytes, {sha256}, are gone. Publish again.") from None

    def shows(self, commit: str | None) -> bool:
        """Whether the link leads to the tree of `commit`; without a commit there is none to show."""
        return commit is None or (self.directory.is_symlink() and self.directory.readlink() == self._link_to(commit))

    def mend_link(self) -> None:
        """Take the lock and let the link lead to the head of `main`."""
        self.require_ours()
        with self.writing():
            self.show(self.refs().branches.get(MAIN))

    def mend_tree(self, commit: str, files: Mapping[str, str]) -> None:
        """Put back what somebody took out of a tree; takes the lock if there is anything to do."""
        if all(_same_file(self.tree(commit) / path, self.blob(sha256)) for path, sha256 in files.items()):
            return
        with self.writing():
            if commit in self.history().reachable():
                self.link_tree(commit, files)

    def show(self, commit: str | None) -> None:
        """Let the link lead to the tree of `commit`, by one rename. It is relative, so that a repo can be moved."""
        if commit is None or self.shows(commit):
            return
        self.require_ours()
        aside = self.machinery / _PARTIAL
        aside.unlink(missing_ok=True)
        aside.symlink_to(self._link_to(commit))
        aside.replace(self.directory)
        _sync(self.directory.parent)

    def publish(self, refs: _Refs) -> None:
        """Make `refs` what is published, and show the head of `main`."""
        if refs != self.refs():
            write_durably(self.machinery / "refs.json", json.dumps(asdict(refs), sort_keys=True, indent=1).encode())
        self.show(refs.branches.get(MAIN))

    def store(self, additions: Mapping[str, Path | bytes], digests: Mapping[str, str]) -> None:
        """Have a blob for every content; one that is there in its full size is taken as it is."""
        missing = {
            sha256: additions[path]
            for path, sha256 in digests.items()
            if not _has_size(self.blob(sha256), _size(additions[path]))
        }
        total = sum(map(_size, missing.values()))
        with disk_told(self.directory, total), track(f"publish {self.directory}", total, "B") as meter:
            for sha256, content in missing.items():
                self._store(sha256, content, meter)
            _sync(self.machinery / "blobs")

    def _store(self, sha256: str, content: Path | bytes, meter: Meter) -> None:
        partial = self.machinery / "blobs" / _PARTIAL
        partial.unlink(missing_ok=True)
        try:
            if isinstance(content, bytes):
                partial.write_bytes(content)
                meter.advance(len(content))
            elif not _linked(content.resolve(), partial):
                if copy_hashed(content, partial, meter) != sha256:
                    raise _changed(content)
            elif not partial.samefile(content) or sha256_of(content) != sha256:  # read again only if it was touched
                raise _changed(content)
            else:
                meter.advance(_size(content))
            partial.chmod(partial.stat().st_mode & _READ_ONLY)
            _sync(partial)
            partial.replace(self.blob(sha256))
        finally:
            partial.unlink(missing_ok=True)

    def link_tree(self, commit: str, files: Mapping[str, str]) -> None:
        """Have every file of a commit in its tree, which nobody reads before the commit is published."""
        tree = self.tree(commit)
        tree.mkdir(exist_ok=True)
        for path, sha256 in files.items():
            if not _same_file(tree / path, self.blob(sha256)):
                self._link_into(tree / path, sha256)
        folders = {tree / parent for path in files for parent in PurePosixPath(path).parents}
        for folder in filter(Path.is_dir, (tree.parent, tree, *folders)):
            _sync(folder)

    def _link_into(self, place: Path, sha256: str) -> None:
        blob, partial = self.blob(sha256), self.machinery / _PARTIAL
        if not blob.is_file():  # of a file that this change does not write; its publisher finds it missing in `paths`
            _log.warning("%s is gone: its bytes, %s, were taken away. Publish it again.", place.name, sha256)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        if not _linked(blob, partial, always=True):
            shutil.copy2(blob, partial)
            _sync(partial)
        partial.replace(place)
        partial.unlink(missing_ok=True)  # a rename onto a link to the same file leaves both

    def append(self, entry: _Entry) -> None:
        """Append a line durably, over one that was cut by a kill."""
        log = self.machinery / "commits.jsonl"
        log.touch()
        with log.open("r+b") as file:
            file.seek(len(_whole_lines(file.read())))
            file.truncate()
            file.write(json.dumps(asdict(entry), sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync(self.machinery)

    def sweep(self, history: _History, wanted: set[str]) -> None:
        """Delete what no branch or tag leads to and the change at hand does not want: a killed process left it."""
        commits = history.reachable()
        blobs = wanted.union(*(history.entries[commit].added.values() for commit in commits))
        for place, kept in ((self.machinery / "blobs", blobs), (self.machinery / "trees", commits)):
            for left in place.iterdir():
                if left.name not in kept:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()
        for left in self.machinery.glob(".*.tmp"):  # of refs.json: only who holds the lock writes it
            left.unlink()

    def _link_to(self, commit: str) -> Path:
        return Path(self.machinery.name) / "trees" / commit


def _commit_id(parent: str | None, files: Mapping[str, str], summary: str, description: str) -> str:
    """Of content and history alone, so that equal publishing gives equal ids."""
    identity = json.dumps([parent, sorted(files.items()), summary, description])
    return hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()


def _require_room(directory: Path, files: Mapping[str, str]) -> None:
    """Raise UserError for a folder that the Hub would not take, or a file in the place of a folder."""
    entries: dict[PurePosixPath, set[PurePosixPath]] = {}
    for path in map(PurePosixPath, files):
        for child in (path, *path.parents[:-1]):
            entries.setdefault(child.parent, set()).add(child)
    for folder, children in sorted(entries.items()):
        if str(folder) in files:
            raise UserError(f"{directory}/{folder} would be a file and a folder. Give one of them another name.")
        if len(children) > FOLDER_ENTRIES:
            raise UserError(
                f"{directory / folder} would have {len(children):,} entries, and the Hub takes {FOLDER_ENTRIES:,} in "
                "a folder. Publish fewer or larger files."
            )


def _linked(source: Path, place: Path, always: bool = False) -> bool:
    """Make `place` a hard link to a file; False if its maker may still write to it, or the disk has no such links."""
    if not always and source.stat().st_mode & _WRITABLE:
        return False
    try:
        place.hardlink_to(source)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return False
    return True


def _same_file(place: Path, blob: Path) -> bool:
    """Whether `place` is the blob, or the copy of it that was made where there are no links."""
    try:
        there, wanted = place.stat(), blob.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(there, wanted) or (there.st_size, there.st_mtime_ns) == (wanted.st_size, wanted.st_mtime_ns)


def _changed(content: Path) -> UserError:
    return UserError(f"{content} changed while it was being published. Run again when nothing writes to it.")


def _has_size(blob: Path, size: int) -> bool:
    return blob.is_file() and blob.stat().st_size == size


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _whole_lines(log: bytes) -> bytes:
    """Without a last line that a kill cut."""
    return log[: log.rfind(b"\n") + 1]


def _sync(path: Path) -> None:
    """Have a file or a directory on the disk, and not only in memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
