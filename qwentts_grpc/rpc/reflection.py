"""Server reflection: v1alpha for old tools, v1 for new."""

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

V1ALPHA = reflection.SERVICE_NAME
V1 = "grpc.reflection.v1.ServerReflection"


def add_reflection(service_names: tuple[str, ...], server: grpc.aio.Server) -> None:
    """Serve the descriptors of `service_names`.

    v1 has v1alpha's messages under another service name; that name is served but not listed, because tools look for its
    descriptor, which does not exist.
    """
    servicer = reflection.aio.ReflectionServicer((*service_names, V1ALPHA))
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(V1, {"ServerReflectionInfo": method}),))
