"""MiniLM's sentence embeddings on another engine, behind grpcio's asyncio
server and the Open Inference Protocol. Models are minilm_models.py's.

usage: rival_server.py onnxruntime|openvino FOLDER
Prints "ready PORT" when it takes requests on 127.0.0.1.
"""

import asyncio
import os
import pathlib
import sys

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from load.batcher import Batcher
from load.rival_engines import ENGINES, TOKENS

QUEUE = 256  # requests that wait, beyond which new ones are refused


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    def __init__(self, engine):
        loop = asyncio.get_running_loop()

        def deliver(futures, answers):
            loop.call_soon_threadsafe(finish, futures, answers)

        self.batcher = Batcher(
            engine.workers, engine.run, deliver, engine.most, engine.waste
        )

    async def ModelInfer(self, request, context):
        sequence = np.frombuffer(request.raw_input_contents[0], np.int64)
        if not 0 < len(sequence) <= TOKENS:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"not 1 to {TOKENS} tokens"
            )
        if len(self.batcher) >= QUEUE:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "the queue is full"
            )
        future = asyncio.get_running_loop().create_future()
        self.batcher.put(sequence, future)
        embedding = await future
        response = service_pb2.ModelInferResponse(
            model_name=request.model_name, id=request.id
        )
        response.outputs.add(
            name="sentence_embedding",
            datatype="FP32",
            shape=[1, len(embedding)],
        )
        response.raw_output_contents.append(embedding.tobytes())
        return response


def finish(futures, answers):
    for future, answer in zip(futures, answers):
        if future.done():  # its client is gone
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)


async def main():
    name, folder = sys.argv[1:]
    workers = len(os.sched_getaffinity(0))
    engine = ENGINES[name](pathlib.Path(folder), workers)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(
        Service(engine), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready {port}", flush=True)
    await server.wait_for_termination()


asyncio.run(main())
