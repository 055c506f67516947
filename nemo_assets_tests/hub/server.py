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
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from nemo_assets_tests.hub.store import Entry, HubError, Node, Repository, Store, folders_of, large_pointer

TREE_PAGE = 1000
COMMITS_PAGE = 50
UPLOAD_BATCH = 256


class Hub:
    """The endpoints over one store; `tokens` maps an access token to the name of its user."""

    def __init__(self, store: Store, tokens: Mapping[str, str], storage_origin: str) -> None:
        self.store = store
        self._tokens = dict(tokens)
        self._storage_origin = storage_origin

    def app(self) -> Starlette:
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
            Route(api + "/super-squash/main", self.squash, methods=["POST"]),
            Route(files + ".git/info/lfs/objects/batch", self.large_batch, methods=["POST"]),
            Route(files + ".git/info/lfs/objects/verify", self.large_verify, methods=["POST"]),
            Route(files + "/resolve/{revision}/{path:path}", self.resolve),
            Route("/large/upload/{oid}", self.large_upload, methods=["PUT"]),
            Route("/large/{oid}", self.large_download),
        ]
        return Starlette(routes=routes, exception_handlers={HubError: _error_answer})

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
        revision, commit = repository.seen(request.path_params.get("revision", "main"))
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
        _, commit = repository.seen(request.path_params["revision"])
        folders, path = folders_of(commit.files), request.path_params.get("path", "").strip("/")
        if path not in folders:
            raise HubError(404, f'{path} does not exist on "{request.path_params["revision"]}"', "EntryNotFound")
        recursive = request.query_params.get("recursive", "").lower() in ("1", "true")
        shown = [
            folder for folder in sorted(folders) if recursive and f"{folder}/".startswith(f"{path}/" if path else "")
        ]
        nodes = [node for folder in shown or [path] for _, node in sorted(folders[folder].items())]
        return _page(request, [_described(node) for node in nodes], TREE_PAGE)

    async def paths_info(self, request: Request) -> Response:
        repository = self._repository(request)
        folders = folders_of(repository.seen(request.path_params["revision"])[1].files)
        paths = [path.strip("/") for path in parse_qs((await request.body()).decode()).get("paths", [])]
        found = (folders.get(path.rpartition("/")[0], {}).get(path.rpartition("/")[2]) for path in paths)
        return JSONResponse([_described(node) for node in found if node])

    async def commits(self, request: Request) -> Response:
        history = self._repository(request).history(request.path_params["revision"])
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
        head = {"name": "main", "ref": "refs/heads/main", "targetCommit": self._repository(request).seen("main")[0]}
        return JSONResponse({"branches": [head], "tags": [], "converts": []})

    async def resolve(self, request: Request) -> Response:
        repository, path = self._repository(request), request.path_params["path"]
        revision, commit = repository.seen(request.path_params["revision"])
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
        with self.store.lock:
            if repo_id in self.store.repositories:
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
        current = repository.commits[repository.resolve(request.path_params["revision"])].files
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
        with self.store.lock:
            repository = self._repository(request)
            parent = header.get("parentCommit")
            if parent and not repository.head.startswith(parent):
                raise HubError(412, "A commit has happened since. Please refresh and try again.")
            files = dict(repository.commits[repository.resolve(request.path_params["revision"])].files)
            for line in lines:
                self._apply(files, line["key"], line["value"])
            oid = self.store.commit(repository, files, header["summary"], header.get("description", ""), user)
        url = f"{_origin(request)}/datasets/{repository.repo_id}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

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
        headers["Link"] = f'<{_origin(request)}{request.url.path}?{urlencode(following)}>; rel="next"'
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
