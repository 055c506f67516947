"""RPCs of deploying an app and finding it again: apps, images, mounts, secrets, functions, classes."""

# ruff: noqa: N802  (the methods have the names of the protocol)

from __future__ import annotations

import time
from typing import Any

from grpclib import GRPCError, Status
from modal_proto import api_pb2 as pb

from nemo_assets_tests.modal.control_plane.records import SUCCESS, DeployedFunction
from nemo_assets_tests.modal.control_plane.rpc import Part, rpc


class DeploymentRpcs(Part):
    """The deploying half of the service."""

    @rpc
    async def ClientHello(self, _: Any) -> pb.ClientHelloResponse:
        return pb.ClientHelloResponse()

    @rpc
    async def EnvironmentGetOrCreate(self, request: Any) -> pb.EnvironmentGetOrCreateResponse:
        settings = pb.EnvironmentSettings(image_builder_version="2025.06")
        metadata = pb.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    @rpc
    async def AppGetByDeploymentName(self, request: Any) -> pb.AppGetByDeploymentNameResponse:
        return pb.AppGetByDeploymentNameResponse(app_id=self.cluster.apps.get(request.name, ""))

    @rpc
    async def AppCreate(self, _: Any) -> pb.AppCreateResponse:
        return pb.AppCreateResponse(app_id=self.cluster.new_id("ap"))

    @rpc
    async def AppGetLayout(self, request: Any) -> pb.AppGetLayoutResponse:
        return pb.AppGetLayoutResponse(app_layout=self.cluster.layouts.get(request.app_id, pb.AppLayout()))

    @rpc
    async def AppHeartbeat(self, _: Any) -> None:
        return None

    @rpc
    async def AppClientDisconnect(self, request: Any) -> None:
        self.cluster.stop_app(request.app_id)

    async def AppGetLogs(self, stream: Any) -> None:
        """No logs, only that they are complete once the app has stopped."""
        request = await stream.recv_message()
        deadline = time.monotonic() + request.timeout
        while request.app_id not in self.cluster.stopped_apps and time.monotonic() < deadline:
            await self.cluster.wait_for_change(deadline - time.monotonic())
        if request.app_id in self.cluster.stopped_apps:
            await stream.send_message(pb.TaskLogsBatch(app_done=True))

    @rpc
    async def AppPublish(self, request: Any) -> pb.AppPublishResponse:
        layout = pb.AppLayout(function_ids=dict(request.function_ids), class_ids=dict(request.class_ids))
        for function_id in request.function_ids.values():
            function = self.cluster.functions[function_id]
            layout.objects.append(pb.Object(object_id=function_id, function_handle_metadata=_metadata(function)))
            known = {item.object_id for item in layout.objects}
            for dependency in function.definition.object_dependencies:
                if dependency.object_id not in known:
                    layout.objects.append(pb.Object(object_id=dependency.object_id))
        for class_id in request.class_ids.values():
            layout.objects.append(pb.Object(object_id=class_id, class_handle_metadata=pb.ClassHandleMetadata()))
        self.cluster.layouts[request.app_id] = layout
        if request.app_state == pb.APP_STATE_DEPLOYED:
            self.cluster.apps[request.name] = request.app_id
        return pb.AppPublishResponse(deployed_at=time.time())

    @rpc
    async def ImageGetOrCreate(self, request: Any) -> pb.ImageGetOrCreateResponse:
        return pb.ImageGetOrCreateResponse(
            image_id=self.cluster.new_id("im"),
            metadata=pb.ImageMetadata(image_builder_version=request.builder_version),
            result=pb.GenericResult(status=SUCCESS),
        )

    @rpc
    async def MountGetOrCreate(self, _: Any) -> pb.MountGetOrCreateResponse:
        metadata = pb.MountHandleMetadata(content_checksum_sha256_hex="0")
        return pb.MountGetOrCreateResponse(mount_id=self.cluster.new_id("mo"), handle_metadata=metadata)

    @rpc
    async def MountBatchedCheckExistence(self, _: Any) -> pb.MountBatchedCheckExistenceResponse:
        return pb.MountBatchedCheckExistenceResponse()

    @rpc
    async def MountPutFile(self, _: Any) -> pb.MountPutFileResponse:
        return pb.MountPutFileResponse(exists=True)

    @rpc
    async def SecretGetOrCreate(self, request: Any) -> pb.SecretGetOrCreateResponse:
        secret_id = self.cluster.new_id("st")
        self.cluster.secrets[secret_id] = dict(request.env_dict)
        return pb.SecretGetOrCreateResponse(secret_id=secret_id)

    @rpc
    async def FunctionPrecreate(self, request: Any) -> pb.FunctionPrecreateResponse:
        function_id = request.existing_function_id or self.cluster.new_id("fu")
        definition = pb.Function(
            function_name=request.function_name,
            function_type=request.function_type,
            method_definitions=request.method_definitions,
            supported_input_formats=request.supported_input_formats,
            supported_output_formats=request.supported_output_formats,
        )
        self.cluster.functions[function_id] = DeployedFunction(function_id, request.app_id, definition)
        return pb.FunctionPrecreateResponse(
            function_id=function_id, handle_metadata=_metadata(self.cluster.functions[function_id])
        )

    @rpc
    async def FunctionCreate(self, request: Any) -> pb.FunctionCreateResponse:
        ranked = request.function_data.ranked_functions
        definition = ranked[0].function if ranked else request.function
        function_id = request.existing_function_id or self.cluster.new_id("fu")
        function = DeployedFunction(function_id, request.app_id, definition)
        self.cluster.functions[function_id] = function
        return pb.FunctionCreateResponse(
            function_id=function_id,
            function=definition,
            function_data=_function_data(definition),
            handle_metadata=_metadata(function),
        )

    @rpc
    async def ClassCreate(self, _: Any) -> pb.ClassCreateResponse:
        return pb.ClassCreateResponse(class_id=self.cluster.new_id("cs"), handle_metadata=pb.ClassHandleMetadata())

    @rpc
    async def FunctionGet(self, request: Any) -> pb.FunctionGetResponse:
        function = self.cluster.functions[self._deployed(request, "function_ids")]
        return pb.FunctionGetResponse(
            function_id=function.function_id,
            handle_metadata=_metadata(function),
            function=_function_data(function.definition),
        )

    @rpc
    async def ClassGet(self, request: Any) -> pb.ClassGetResponse:
        class_id = self._deployed(request, "class_ids")
        return pb.ClassGetResponse(class_id=class_id, handle_metadata=pb.ClassHandleMetadata())

    @rpc
    async def FunctionBindParams(self, request: Any) -> pb.FunctionBindParamsResponse:
        key = request.SerializeToString(deterministic=True)
        if key not in self.cluster.bindings:
            origin = self.cluster.functions[request.function_id]
            definition = pb.Function()
            definition.CopyFrom(origin.definition)
            definition.resources.MergeFrom(request.function_options.resources)
            function_id = self.cluster.new_id("fu")
            self.cluster.functions[function_id] = DeployedFunction(
                function_id, origin.app_id, definition, request.serialized_params, request.function_options
            )
            self.cluster.bindings[key] = function_id
        bound = self.cluster.functions[self.cluster.bindings[key]]
        return pb.FunctionBindParamsResponse(bound_function_id=bound.function_id, handle_metadata=_metadata(bound))

    def _deployed(self, request: Any, kind: str) -> str:
        app_id = self.cluster.apps.get(request.app_name)
        if not app_id:
            raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found in environment 'main'")
        object_id = getattr(self.cluster.layouts[app_id], kind).get(request.object_tag)
        if not object_id:
            raise GRPCError(Status.NOT_FOUND, f"'{request.object_tag}' not found in app '{request.app_name}'")
        return str(object_id)


def _function_data(definition: pb.Function) -> pb.FunctionData:
    return pb.FunctionData(ranked_functions=[pb.FunctionData.RankedFunction(rank=0, function=definition)])


def _metadata(function: DeployedFunction) -> pb.FunctionHandleMetadata:
    definition = function.definition
    methods = {
        name: pb.FunctionHandleMetadata(
            function_name=method.function_name,
            function_type=method.function_type,
            use_method_name=name,
            function_schema=method.function_schema,
            supported_input_formats=method.supported_input_formats,
            supported_output_formats=method.supported_output_formats,
            app_id=function.app_id,
            is_method=True,
        )
        for name, method in definition.method_definitions.items()
    }
    return pb.FunctionHandleMetadata(
        function_name=definition.function_name,
        function_type=definition.function_type,
        is_method=definition.is_method,
        definition_id=f"de-{function.function_id}",
        app_id=function.app_id,
        class_parameter_info=definition.class_parameter_info,
        function_schema=definition.function_schema,
        supported_input_formats=definition.supported_input_formats,
        supported_output_formats=definition.supported_output_formats,
        method_handle_metadata=methods,
    )
