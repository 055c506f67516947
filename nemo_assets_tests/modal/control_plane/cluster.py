"""The simulated machines: which container runs when, and what becomes of the input of one that is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from modal_proto import api_pb2 as pb

from nemo_assets_tests.modal.control_plane.records import (
    INTERNAL_FAILURE,
    SUCCESS,
    TERMINATED,
    TIMEOUT,
    Call,
    Container,
    DeployedFunction,
    Loss,
)

MOST_CONTAINERS = 1
"""Of one function, whatever it allows: every container loads PyTorch, and one core runs the tests."""

PREEMPTION_SECONDS = 10.0
"""How long a container that lost its machine may take to end by itself."""


class Cluster:
    """Everything the control plane knows, and the containers it runs."""

    def __init__(self, root: Path, environment: Mapping[str, str], mount_variables: Mapping[str, str]) -> None:
        self.root = root
        self.environment = dict(environment)
        self.mount_variables = dict(mount_variables)
        self.apps: dict[str, str] = {}
        self.layouts: dict[str, pb.AppLayout] = {}
        self.functions: dict[str, DeployedFunction] = {}
        self.bindings: dict[bytes, str] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.volume_ids: dict[str, str] = {}
        self.calls: dict[str, Call] = {}
        self.queues: dict[str, deque[Call]] = defaultdict(deque)
        self.containers: dict[str, Container] = {}
        self.losses: deque[Loss] = deque()
        self.duplicates = 0
        self.again: set[str] = set()
        self.stopped_apps: set[str] = set()
        self.events: list[tuple[str, str]] = []
        self.http_address = ""
        self.listen: Callable[[str | None], Awaitable[int]]
        self._changed = asyncio.Event()
        self._numbers: dict[str, int] = defaultdict(int)
        self._watchers: set[asyncio.Task[None]] = set()

    def new_id(self, kind: str) -> str:
        """An id in Modal's form, such as `fc-0000000000000000000001`."""
        self._numbers[kind] += 1
        return f"{kind}-{self._numbers[kind]:022d}"

    def volume_directory(self, volume_id: str) -> Path:
        """Where the committed content of a volume lies."""
        return self.root / "volumes" / volume_id

    async def wait_for_change(self, seconds: float) -> None:
        """Until something happened, at most `seconds`."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def announce(self) -> None:
        """Wake whoever waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def enqueue(self, call: Call) -> None:
        """Have a container take the call, sooner or later."""
        call.container_id = None
        self.queues[call.function.function_id].append(call)
        self.announce()
        await self.schedule(call.function)

    async def schedule(self, function: DeployedFunction) -> None:
        """Start a container if calls wait, none is idle and there may be one more."""
        alive = [
            container for container in self.containers.values() if container.function is function and container.alive
        ]
        waits = any(call.unfinished for call in self.queues[function.function_id])
        if (
            waits
            and len(alive) < min(function.max_containers, MOST_CONTAINERS)
            and not any(container.idle for container in alive)
        ):
            await self._start_container(function)

    async def finish(self, call: Call, result: pb.GenericResult, data_format: int = 0) -> None:
        """Record the result, or try again where the policy allows: the server retries calls that were spawned."""
        if not call.unfinished:
            return
        if result.status not in (SUCCESS, TERMINATED) and call.attempt < call.function.retries.retries:
            call.attempt += 1
            self.events.append(("retry", call.call_id))
            await self.enqueue(call)
            return
        self.events.append(("finished", call.call_id))
        call.output = pb.FunctionGetOutputsItem(
            result=result, idx=0, input_id=call.input_id, data_format=data_format, retry_count=call.attempt
        )
        self.announce()

    async def lose(self, container: Container, loss: Loss) -> None:
        """Take the machine away from under the container."""
        container.lost = loss
        self.events.append((loss.value, container.container_id))
        os.killpg(container.process.pid, signal.SIGINT if loss is Loss.PREEMPTED else signal.SIGKILL)

    def stop_app(self, app_id: str) -> None:
        """End an app that lives as long as its client: its containers with it."""
        self.stopped_apps.add(app_id)
        for container in self.containers.values():
            if container.function.app_id == app_id:
                self.stop(container)
        self.announce()

    def stop(self, container: Container) -> None:
        """End the container's process, if it still runs."""
        if container.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(container.process.pid, signal.SIGKILL)
        container.process.wait()

    def held_by(self, container: Container) -> list[Call]:
        """The unfinished calls whose input the container has."""
        return [call for call in self.calls.values() if call.container_id == container.container_id and call.unfinished]

    async def _start_container(self, function: DeployedFunction) -> None:
        container_id = self.new_id("ta")
        directory = self.root / "containers" / container_id
        volumes = self._mounted_volumes(function, directory)
        arguments = pb.ContainerArguments(
            task_id=container_id,
            function_id=function.function_id,
            app_id=function.app_id,
            function_def=function.definition,
            app_layout=self.layouts[function.app_id],
            serialized_params=function.serialized_params,
            environment_name="main",
        )
        (directory / "arguments.bin").write_bytes(arguments.SerializeToString())
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MODAL_TOKEN_")},
            **self.environment,
            **self._secrets_of(function),
            "MODAL_SERVER_URL": f"http://127.0.0.1:{await self.listen(container_id)}",
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": container_id,
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(directory / "arguments.bin"),
        }
        for mount in function.definition.volume_mounts:
            if mount.mount_path in self.mount_variables:
                environment[self.mount_variables[mount.mount_path]] = str(volumes[mount.volume_id])
        with (directory / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "modal._container_entrypoint"],
                env=environment,
                cwd=directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        container = Container(container_id, function, process, directory, volumes)
        self.containers[container_id] = container
        self.events.append(("started", container_id))
        watcher = asyncio.ensure_future(self._watch(container))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)

    def _mounted_volumes(self, function: DeployedFunction, directory: Path) -> dict[str, Path]:
        """Copies of the volumes: a container sees what is committed when it starts or reloads."""
        directory.mkdir(parents=True)
        volumes = {}
        for mount in function.definition.volume_mounts:
            volumes[mount.volume_id] = directory / "volumes" / mount.volume_id
            shutil.copytree(self.volume_directory(mount.volume_id), volumes[mount.volume_id])
        return volumes

    def _secrets_of(self, function: DeployedFunction) -> dict[str, str]:
        variables: dict[str, str] = {}
        for secret_id in (*function.definition.secret_ids, *function.options.secret_ids):
            variables |= self.secrets[secret_id]
        return variables

    async def _watch(self, container: Container) -> None:
        """Wait for the container to end; an input it still holds is lost and goes to another one."""
        patience = PREEMPTION_SECONDS
        while container.process.poll() is None:
            await asyncio.sleep(0.05)
            patience -= 0.05 if container.lost else 0.0
            if patience <= 0:
                self.stop(container)
        self.events.append(("ended", container.container_id))
        for call in self.held_by(container):
            if container.lost is Loss.PREEMPTED:
                await self.enqueue(call)
            elif container.lost is Loss.TIMED_OUT:
                await self.finish(call, pb.GenericResult(status=TIMEOUT, exception="Function timed out"))
            else:
                ended = f"container ended with status {container.process.returncode}"
                await self.finish(call, pb.GenericResult(status=INTERNAL_FAILURE, exception=ended))
        await self.schedule(container.function)
