"""A Hub for tests: the part of the Hub's HTTP protocol that the real clients use for dataset repos.

Belongs here: the wire. The clients of `huggingface_hub` and `datasets` talk to it as they talk to the Hub.
Does not: content (`store`), failures (`faults`); Xet, spaces, pull requests, webhooks.

Large files are served from another origin (`localhost` instead of `127.0.0.1`), as the Hub's storage is: the client
reads the headers of a redirect only when it leads elsewhere, and must not take its token there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from nemo_assets_tests.hub.store import MAIN, Entry, HubError, Node, Repository, Store, folders_of, large_pointer

TREE_PAGE = 1000
COMMITS_PAGE = 50
UPLOAD_BATCH = 256
PATHS_AT_ONCE = 1000

_QUOTED_SLASH = "\ue000"  # stands for a `%2F` in one segment of a path, as in the name of a branch


class Hub:
    """The endpoints over one store; `tokens` maps an access token to the name of its user.

    Who has one of the `readers` may read alone.
    """

    def __init__(
        self, store: Store, tokens: Mapping[str, str], storage_origin: str, readers: Iterable[str] = ()
    ) -> None:
        self.store = store
        self._tokens = dict(tokens)
        self._readers = frozenset(readers)
        self._storage_origin = storage_origin

    def app(self) -> ASGIApp:
        api, files = "/api/datasets/{org}/{name}", "/datasets/{org}/{name}"
        routes = [
            Route("/api/whoami-v2", self.whoami),
            Route("/api/validate-yaml", self.validate_card, methods=["POST"]),
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route(api, self.info),
            Route(api + "/revision/{revision}", self.info),
            Route(api + "/tree/{revision}", self.tree),
            Route(api + "/tree/{revision}/{path:path}", self.tree),
            Route(api + "/paths-info/{revision}", self.paths_info, methods=["POST"]),
            Route(api + "/commits/{revision}", self.commits),
            Route(api + "/refs", self.refs),
            Route(api + "/preupload/{revision}", self.preupload, methods=["POST"]),
            Route(api + "/commit/{revision}", self.commit, methods=["POST"]),
            Route(api + "/branch/{branch}", self.create_branch, methods=["POST"]),
            Route(api + "/branch/{branch}", self.delete_branch, methods=["DELETE"]),
            Route(api + "/tag/{revision}", self.create_tag, methods=["POST"]),
            Route(api + "/tag/{revision}", self.delete_tag, methods=["DELETE"]),
            Route(api + "/super-squash/main", self.squash, methods=["POST"]),
            Route(files + ".git/info/lfs/objects/batch", self.large_batch, methods=["POST"]),
            Route(files + ".git/info/lfs/objects/verify", self.large_verify, methods=["POST"]),
            Route(files + "/resolve/{revision}/{path:path}", self.resolve),
            Route("/large/upload/{oid}", self.large_upload, methods=["PUT"]),
            Route("/large/{oid}", self.large_download),
        ]
        return _Segments(Starlette(routes=routes, exception_handlers={HubError: _error_answer}))

    # Who is asking

    def _user(self, request: Request) -> str | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            return None
        if token not in self._tokens:
            raise HubError(401, "Invalid credentials in Authorization header")
        return self._tokens[token]

    def _writer(self, request: Request) -> str:
        user = self._user(request)
        if user is None:
            raise HubError(401, "Invalid username or password.")
        if request.headers["authorization"].partition(" ")[2] in self._readers:
            raise HubError(403, "you must use a write token to upload to a repository.")
        return user

    def _repository(self, request: Request) -> Repository:
        repo_id = f"{request.path_params['org']}/{request.path_params['name']}"
        return self.store.repository(repo_id, self._user(request))

    async def whoami(self, request: Request) -> Response:
        user = self._writer(request)
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
        return JSONResponse(
            {"type": "user", "id": "0" * 24, "name": user, "fullname": user, "orgs": [], "auth": access}
        )

    # Reading

    async def info(self, request: Request) -> Response:
        repository = self._repository(request)
        revision, commit = repository.seen(_named(request, "revision", MAIN))
        blobs = request.query_params.get("blobs", "").lower() in ("1", "true")
        card = self._card(commit.files)
        described = {
            "_id": hashlib.md5(repository.repo_id.encode(), usedforsecurity=False).hexdigest()[:24],
            "id": repository.repo_id,
            "author": repository.repo_id.partition("/")[0],
            "sha": revision,
            "lastModified": commit.date,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card.get("tags", []),
            "cardData": card or None,
            "siblings": [_sibling(path, entry, blobs) for path, entry in sorted(commit.files.items())],
        }
        wanted = request.query_params.getlist("expand")
        kept = {key: value for key, value in described.items() if not wanted or key in (*wanted, "_id", "id")}
        return JSONResponse(kept)

    def _card(self, files: Mapping[str, Entry]) -> dict[str, Any]:
        if "README.md" not in files:
            return {}
        return _front_matter(self.store.content_path(files["README.md"]).read_text()) or {}

    async def tree(self, request: Request) -> Response:
        repository = self._repository(request)
        _, commit = repository.seen(_named(request, "revision"))
        folders, path = folders_of(commit.files), _named(request, "path", "").strip("/")
        if path not in folders:
            raise HubError(404, f'{path} does not exist on "{_named(request, "revision")}"', "EntryNotFound")
        recursive = request.query_params.get("recursive", "").lower() in ("1", "true")
        shown = [
            folder for folder in sorted(folders) if recursive and f"{folder}/".startswith(f"{path}/" if path else "")
        ]
        nodes = [node for folder in shown or [path] for _, node in sorted(folders[folder].items())]
        return _page(request, [_described(node) for node in nodes], TREE_PAGE)

    async def paths_info(self, request: Request) -> Response:
        repository = self._repository(request)
        folders = folders_of(repository.seen(_named(request, "revision"))[1].files)
        paths = [path.strip("/") for path in parse_qs((await request.body()).decode()).get("paths", [])]
        if len(paths) > PATHS_AT_ONCE:
            raise HubError(413, "too many parameters")
        found = (folders.get(path.rpartition("/")[0], {}).get(path.rpartition("/")[2]) for path in paths)
        return JSONResponse([_described(node) for node in found if node])

    async def commits(self, request: Request) -> Response:
        history = self._repository(request).history(_named(request, "revision"))
        listed = [
            {
                "id": oid,
                "title": commit.title,
                "message": commit.message,
                "date": commit.date,
                "authors": [{"user": commit.author}],
            }
            for oid, commit in history
        ]
        return _page(request, listed, COMMITS_PAGE)

    async def refs(self, request: Request) -> Response:
        repository = self._repository(request)
        branches = {**repository.branches, MAIN: repository.seen(MAIN)[0]}
        listed = {"branches": _references("heads", branches), "tags": _references("tags", repository.tags)}
        return JSONResponse({**listed, "converts": []})

    async def resolve(self, request: Request) -> Response:
        repository, path = self._repository(request), _named(request, "path")
        revision, commit = repository.seen(_named(request, "revision"))
        headers = {"X-Repo-Commit": revision}
        entry = commit.files.get(path)
        if entry is None:
            raise HubError(404, "Entry not found", "EntryNotFound", headers=headers)
        if entry.large is None:
            return _file_answer(self.store.content_path(entry), {**headers, "ETag": f'"{entry.blob_id}"'})
        location = f"{self._storage_origin}/large/{entry.large}?Signature={uuid.uuid4().hex}"
        linked = {"X-Linked-Etag": f'"{entry.large}"', "X-Linked-Size": str(entry.size), "ETag": f'"{entry.blob_id}"'}
        return Response("Found", 302, {**headers, **linked, "Location": location})

    async def large_download(self, request: Request) -> Response:
        oid = request.path_params["oid"]
        if not self.store.large_path(oid).exists():
            raise HubError(404, "NoSuchKey")
        return _file_answer(self.store.large_path(oid), {"ETag": f'"{oid}"'})

    # Writing

    async def create(self, request: Request) -> Response:
        user, asked = self._writer(request), await request.json()
        repo_id = f"{asked.get('organization') or user}/{asked['name']}"
        url = f"{_origin(request)}/datasets/{repo_id}"
        namespaces = self.store.namespaces
        if namespaces is not None and repo_id.partition("/")[0] not in namespaces:
            raise HubError(403, "You don't have the rights to create a dataset under this namespace")
        with self.store.lock:
            if repo_id in self.store.repositories or repo_id in self.store.hidden:
                raise HubError(409, "You already created this dataset repo", body={"url": url})
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.store.create(repo_id, private, user)
        return JSONResponse({"url": url, "name": repo_id})

    async def validate_card(self, request: Request) -> Response:
        try:
            _front_matter((await request.json())["content"])
        except yaml.YAMLError as error:
            return JSONResponse({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return JSONResponse({"errors": [], "warnings": []})

    async def preupload(self, request: Request) -> Response:
        self._writer(request)
        repository, asked = self._repository(request), (await request.json())["files"]
        if len(asked) > UPLOAD_BATCH:
            raise HubError(413, "too many files")
        current = repository.commits[repository.resolve(_named(request, "revision"))].files
        limit = self.store.storage_limit
        if limit is not None and self.store.large_bytes() + sum(file["size"] for file in asked) > limit:
            raise HubError(403, "Private repository storage limit reached, please upgrade your plan.")
        modes = []
        for file in asked:
            sample = base64.b64decode(file.get("sample") or "")
            large = self.store.is_large(repository, file["path"], sample, file["size"])
            known = {"oid": current[file["path"]].content_id} if file["path"] in current else {}
            mode = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            modes.append({**mode, **known})
        return JSONResponse({"commitOid": repository.head, "files": modes})

    async def large_batch(self, request: Request) -> Response:
        self._writer(request)
        repository, asked = self._repository(request), await request.json()
        origin, objects = _origin(request), []
        for item in asked["objects"]:
            answer = {"oid": item["oid"], "size": item["size"], "authenticated": True}
            if not self.store.large_path(item["oid"]).exists():
                verify = f"{origin}/datasets/{repository.repo_id}.git/info/lfs/objects/verify"
                upload = f"{origin}/large/upload/{item['oid']}"
                answer["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
            objects.append(answer)
        return JSONResponse({"transfer": "basic", "objects": objects}, media_type="application/vnd.git-lfs+json")

    async def large_upload(self, request: Request) -> Response:
        oid, incoming = request.path_params["oid"], self.store.root / "incoming" / uuid.uuid4().hex
        if await _receive(request.stream(), incoming) != oid:
            incoming.unlink()
            raise HubError(400, "The sha256 of what was sent is another one")
        incoming.replace(self.store.large_path(oid))
        return Response()

    async def large_verify(self, request: Request) -> Response:
        asked = await request.json()
        path = self.store.large_path(asked["oid"])
        if not path.exists() or path.stat().st_size != asked["size"]:
            raise HubError(404, "Object does not exist")
        return JSONResponse({"success": True})

    async def commit(self, request: Request) -> Response:
        user, body = self._writer(request), await request.body()
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if len(lines) - 1 > self.store.operations_limit:
            raise HubError(413, f"a commit has at most {self.store.operations_limit} operations")
        with self.store.lock:
            repository, branch = self._repository(request), _named(request, "revision")
            if branch not in repository.branches:
                raise HubError(404, f"Invalid rev id: {branch}", "RevisionNotFound")
            head, parent = repository.branches[branch], header.get("parentCommit")
            if parent and not head.startswith(parent):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            files = dict(repository.commits[head].files)
            for line in lines:
                self._apply(files, line["key"], line["value"])
            oid = self.store.commit(repository, files, header["summary"], header.get("description", ""), user, branch)
        url = f"{_origin(request)}/datasets/{repository.repo_id}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    async def create_branch(self, request: Request) -> Response:
        self._writer(request)
        repository, branch = self._repository(request), _named(request, "branch")
        asked = json.loads(await request.body() or b"{}")
        with self.store.lock:
            if branch in repository.branches:
                raise HubError(409, f"Reference already exists: refs/heads/{branch}")
            repository.branches[branch] = repository.resolve(asked.get("startingPoint") or MAIN)
        return JSONResponse({"success": True})

    async def delete_branch(self, request: Request) -> Response:
        self._writer(request)
        repository, branch = self._repository(request), _named(request, "branch")
        if branch == MAIN:
            raise HubError(403, "The main branch cannot be deleted")
        if repository.branches.pop(branch, None) is None:
            raise HubError(404, f"Reference does not exist: refs/heads/{branch}", "RevisionNotFound")
        return JSONResponse({"success": True})

    async def create_tag(self, request: Request) -> Response:
        self._writer(request)
        repository, tag = self._repository(request), (await request.json())["tag"]
        with self.store.lock:
            if tag in repository.tags:
                raise HubError(409, f"Tag reference exists already: refs/tags/{tag}")
            repository.tags[tag] = repository.resolve(_named(request, "revision"))
        return JSONResponse({"success": True})

    async def delete_tag(self, request: Request) -> Response:
        self._writer(request)
        repository, tag = self._repository(request), _named(request, "revision")
        if repository.tags.pop(tag, None) is None:
            raise HubError(404, f"Reference does not exist: refs/tags/{tag}", "RevisionNotFound")
        return JSONResponse({"success": True})

    async def squash(self, request: Request) -> Response:
        self._writer(request)
        self.store.squash(self._repository(request).repo_id, (await request.json())["message"])
        return JSONResponse({"success": True})

    def _apply(self, files: dict[str, Entry], key: str, value: Mapping[str, Any]) -> None:
        match key:
            case "file":
                files[value["path"]] = self.store.regular_entry(base64.b64decode(value["content"]))
            case "lfsFile":
                files[value["path"]] = self.store.large_entry(value["oid"], value.get("size"))
            case "deletedFile":
                if files.pop(value["path"], None) is None:
                    raise HubError(404, "A file with this name doesn't exist", "EntryNotFound")
            case "deletedFolder":
                for path in [path for path in files if path.startswith(value["path"].rstrip("/") + "/")]:
                    del files[path]


class _Segments:
    """Routes by the segments of the path as it was sent, so that a name with a quoted slash stays one segment."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = scope["raw_path"].decode()
        path = "/".join(unquote(segment).replace("/", _QUOTED_SLASH) for segment in sent.split("/"))
        await self._app({**scope, "path": path}, receive, send)


def _named(request: Request, name: str, default: str | None = None) -> str:
    """A parameter of the path, such as a revision or the path of a file."""
    found = request.path_params[name] if default is None else request.path_params.get(name, default)
    return str(found).replace(_QUOTED_SLASH, "/")


def _references(kind: str, named: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in sorted(named.items())]


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers['host']}"


async def _error_answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, HubError)
    headers = {
        **error.headers,
        "X-Error-Message": error.message,
        **({"X-Error-Code": error.code} if error.code else {}),
    }
    return JSONResponse({"error": error.message, **error.body}, error.status, headers)


def _front_matter(readme: str) -> dict[str, Any] | None:
    found = re.match(r"---\r?\n(.*?)\r?\n---", readme, re.DOTALL)
    loaded = yaml.safe_load(found[1]) if found else None
    return loaded if isinstance(loaded, dict) else None


def _large(entry: Entry) -> dict[str, Any]:
    return {"oid": entry.large, "size": entry.size, "pointerSize": len(large_pointer(entry.large or "", entry.size))}


def _described(node: Node) -> dict[str, Any]:
    if node.entry is None:
        return {"type": "directory", "oid": node.oid, "size": 0, "path": node.path}
    described = {"type": "file", "oid": node.oid, "size": node.entry.size, "path": node.path}
    return {**described, "lfs": _large(node.entry)} if node.entry.large else described


def _sibling(path: str, entry: Entry, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    described = {"rfilename": path, "size": entry.size, "blobId": entry.blob_id}
    if entry.large is None:
        return described
    large = _large(entry)
    return {**described, "lfs": {**large, "sha256": large["oid"]}}


def _page(request: Request, items: Sequence[Any], most: int) -> JSONResponse:
    """One page of a listing; the next one is named by a Link header."""
    query = request.query_params
    limit, start = min(int(query.get("limit", most)), most), int(query.get("cursor", 0))
    headers = {}
    if start + limit < len(items):
        following = [(key, value) for key, value in query.multi_items() if key != "cursor"] + [
            ("cursor", start + limit)
        ]
        headers["Link"] = f'<{_origin(request)}{request.scope["raw_path"].decode()}?{urlencode(following)}>; rel="next"'
    return JSONResponse(items[start : start + limit], headers=headers)


def _file_answer(path: Path, headers: Mapping[str, str]) -> Response:
    """The bytes of a file, or the part of them that a Range header asks for."""
    return FileResponse(path, headers=dict(headers), media_type="application/octet-stream")


async def _receive(stream: AsyncIterator[bytes], destination: Path) -> str:
    digest = hashlib.sha256()
    with destination.open("wb") as file:
        async for chunk in stream:
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
