"""What the control plane remembers: calls, inputs, containers, functions."""

from __future__ import annotations

import enum
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2 as pb

SUCCESS = pb.GenericResult.GENERIC_STATUS_SUCCESS
TERMINATED = pb.GenericResult.GENERIC_STATUS_TERMINATED
INTERNAL_FAILURE = pb.GenericResult.GENERIC_STATUS_INTERNAL_FAILURE
TIMEOUT = pb.GenericResult.GENERIC_STATUS_TIMEOUT


class Loss(enum.Enum):
    """How a container is lost while it holds an input."""

    PREEMPTED = "preempted"
    """SIGINT and another container, as Modal does; costs no retry."""
    CRASHED = "crashed"
    """SIGKILL; costs a retry."""
    TIMED_OUT = "timed out"
    """The attempt took longer than the function's time-out; costs a retry."""


@dataclass
class DeployedFunction:
    """A function, or one bound to parameters and options."""

    function_id: str
    app_id: str
    definition: pb.Function
    serialized_params: bytes = b""
    options: pb.FunctionOptions = field(default_factory=pb.FunctionOptions)

    @property
    def retries(self) -> pb.FunctionRetryPolicy:
        """The policy in force."""
        return self.options.retry_policy if self.options.HasField("retry_policy") else self.definition.retry_policy

    @property
    def max_containers(self) -> int:
        """How many containers may run at once."""
        if self.options.HasField("concurrency_limit"):
            return int(self.options.concurrency_limit)
        return self.definition.autoscaler_settings.max_containers or 1


@dataclass
class Call:
    """One function call with one input: `spawn` makes no others."""

    call_id: str
    function: DeployedFunction
    input_id: str
    item: pb.FunctionInput
    attempt: int = 0
    container_id: str | None = None
    output: pb.FunctionGetOutputsItem | None = None

    @property
    def unfinished(self) -> bool:
        """Whether there is no output yet."""
        return self.output is None


@dataclass
class Container:
    """One process of Modal's container runtime; `volumes` are its own copies, volume id -> directory."""

    container_id: str
    function: DeployedFunction
    process: subprocess.Popen[bytes]
    directory: Path
    volumes: dict[str, Path]
    idle: bool = False
    lost: Loss | None = None

    @property
    def alive(self) -> bool:
        """Whether it can still take inputs."""
        return self.process.poll() is None and self.lost is None
