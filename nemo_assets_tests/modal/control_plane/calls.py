"""RPCs of calling a function, and of the container that executes the call."""

# ruff: noqa: N802  (the methods have the names of the protocol)

from __future__ import annotations

import asyncio
import time
from typing import Any

from grpclib import GRPCError, Status
from modal._utils.jwt_utils import DecodedJwt
from modal_proto import api_pb2 as pb

from nemo_assets_tests.modal.control_plane.records import TERMINATED, Call
from nemo_assets_tests.modal.control_plane.rpc import Part, rpc

IDLE_SECONDS = 30.0
"""How long a container without inputs stays: long enough that tests one after the other share a loaded model."""


class CallRpcs(Part):
    """The calling half of the service, seen from the client."""

    @rpc
    async def FunctionMap(self, request: Any) -> pb.FunctionMapResponse:
        (item,) = request.pipelined_inputs
        function = self.cluster.functions[request.function_id]
        call = Call(self.cluster.new_id("fc"), function, self.cluster.new_id("in"), item.input)
        self.cluster.calls[call.call_id] = call
        self.cluster.events.append(("called", call.call_id))
        await self.cluster.enqueue(call)
        token = DecodedJwt.encode_without_signature({"idx": 0, "input_id": call.input_id})
        return pb.FunctionMapResponse(
            function_call_id=call.call_id,
            pipelined_inputs=[pb.FunctionPutInputsResponseItem(idx=0, input_id=call.input_id, input_jwt=token)],
            retry_policy=function.retries,
            function_call_jwt=call.call_id,
            max_inputs_outstanding=1000,
        )

    @rpc
    async def FunctionGetOutputs(self, request: Any) -> pb.FunctionGetOutputsResponse:
        call = self._call(request.function_call_id)
        deadline = time.monotonic() + request.timeout
        while call.unfinished and time.monotonic() < deadline:
            await self.cluster.wait_for_change(deadline - time.monotonic())
        return pb.FunctionGetOutputsResponse(
            outputs=[call.output] if call.output is not None else [], num_unfinished_inputs=int(call.unfinished)
        )

    @rpc
    async def FunctionCallFromId(self, request: Any) -> pb.FunctionCallFromIdResponse:
        call = self._call(request.function_call_id)
        return pb.FunctionCallFromIdResponse(function_call_id=call.call_id, num_inputs=1)

    @rpc
    async def FunctionCallCancel(self, request: Any) -> None:
        call = self._call(request.function_call_id)
        if not call.unfinished:
            return
        self.cluster.events.append(("cancelled", call.call_id))
        await self.cluster.finish(call, pb.GenericResult(status=TERMINATED, exception="cancelled"))
        if call.container_id is not None and request.terminate_containers:
            self.cluster.stop(self.cluster.containers[call.container_id])

    def _call(self, call_id: str) -> Call:
        if call_id not in self.cluster.calls:
            raise GRPCError(Status.NOT_FOUND, f"no function call {call_id}")
        return self.cluster.calls[call_id]


class ContainerRpcs(Part):
    """The same, seen from the container."""

    @rpc
    async def ContainerHello(self, _: Any) -> None:
        return None

    @rpc
    async def ContainerHeartbeat(self, _: Any) -> pb.ContainerHeartbeatResponse:
        await asyncio.sleep(1.0)
        return pb.ContainerHeartbeatResponse()

    @rpc
    async def FunctionGetInputs(self, _: Any) -> pb.FunctionGetInputsResponse:
        container = self.container
        queue = self.cluster.queues[container.function.function_id]
        deadline = time.monotonic() + IDLE_SECONDS
        container.idle = True
        while container.alive and time.monotonic() < deadline:
            while queue and not queue[0].unfinished and queue[0].call_id not in self.cluster.again:
                queue.popleft()
            if queue:
                return await self._hand_out(queue.popleft())
            await self.cluster.wait_for_change(0.5)
        container.idle = False
        return pb.FunctionGetInputsResponse(inputs=[pb.FunctionGetInputsItem(kill_switch=True)])

    async def _hand_out(self, call: Call) -> pb.FunctionGetInputsResponse:
        container = self.container
        container.idle = False
        self.cluster.events.append(("delivered", call.call_id))
        self.cluster.again.discard(call.call_id)
        call.container_id = container.container_id
        if self.cluster.losses:
            await self.cluster.lose(container, self.cluster.losses.popleft())
        elif self.cluster.duplicates:
            self.cluster.duplicates -= 1
            self.cluster.again.add(call.call_id)
            self.cluster.queues[container.function.function_id].appendleft(call)
        await self.cluster.schedule(container.function)
        item = pb.FunctionGetInputsItem(
            input_id=call.input_id,
            input=call.item,
            function_call_id=call.call_id,
            retry_count=call.attempt,
            function_call_invocation_type=pb.FUNCTION_CALL_INVOCATION_TYPE_ASYNC,
        )
        return pb.FunctionGetInputsResponse(inputs=[item])

    @rpc
    async def FunctionPutOutputs(self, request: Any) -> None:
        if self.container.lost:
            return  # what a lost container still says comes too late
        for output in request.outputs:
            for call in self.cluster.held_by(self.container):
                if call.input_id == output.input_id:
                    await self.cluster.finish(call, output.result, output.data_format)

    @rpc
    async def TaskResult(self, request: Any) -> None:
        """The container could not start: an import or an enter hook failed. All that waits for it fails with it."""
        queue = self.cluster.queues[self.container.function.function_id]
        waiting = [*self.cluster.held_by(self.container), *queue]
        queue.clear()
        for call in waiting:
            call.attempt = call.function.retries.retries
            await self.cluster.finish(call, request.result, pb.DATA_FORMAT_PICKLE)
