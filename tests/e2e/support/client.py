"""A plain client of octet.v1 for tests, straight on the generated stubs."""

import hashlib
import pathlib

import google_crc32c
import grpc
import numpy as np

from support import archives
from support.api import pb, stub

CHUNK = 1 << 20
BATCH = 16  # sequences in one message
_NUMPY = {
    pb.DATA_TYPE_F32: np.dtype("<f4"),
    pb.DATA_TYPE_F16: np.dtype("<f2"),
    pb.DATA_TYPE_I32: np.dtype("<i4"),
    pb.DATA_TYPE_I64: np.dtype("<i8"),
}


def crc32c(data: bytes) -> int:
    return google_crc32c.value(data)


def tensor(array) -> "pb.Tensor":
    array = np.ascontiguousarray(array, "<f4")
    return pb.Tensor(
        type=pb.DATA_TYPE_F32, shape=array.shape, data=array.tobytes()
    )


def array(message) -> np.ndarray:
    return np.frombuffer(message.data, _NUMPY[message.type]).reshape(
        message.shape
    )


def token_inputs(sequences) -> "pb.ModelInputs":
    return pb.ModelInputs(
        tokens=pb.TokenBatch(
            ids=[i for sequence in sequences for i in sequence],
            lengths=[len(sequence) for sequence in sequences],
        )
    )


def feature_inputs(rows) -> "pb.ModelInputs":
    return pb.ModelInputs(features=tensor(rows))


def chunks_of(path, data, start=0, size=CHUNK):
    for offset in range(start, len(data), size):
        piece = data[offset : offset + size]
        yield pb.UploadCheckpointRequest(
            chunk=pb.FileChunk(
                path=path, offset=offset, data=piece, crc32c=crc32c(piece)
            )
        )


def header_of(checkpoint_id, files, sha256=True):
    return pb.UploadCheckpointRequest(
        header=pb.UploadCheckpointHeader(
            checkpoint_id=checkpoint_id,
            files=[
                pb.UploadedFile(
                    path=path,
                    size_bytes=len(data),
                    sha256=hashlib.sha256(data).hexdigest() if sha256 else "",
                )
                for path, data in files.items()
            ],
        )
    )


def upload_messages(checkpoint_id, files, received=None, size=CHUNK):
    """`received`: {path: bytes the server has}."""
    received = received or {}
    yield header_of(checkpoint_id, files)
    for path, data in files.items():
        yield from chunks_of(path, data, received.get(path, 0), size)


def batches_of(sequences):
    for i in range(0, len(sequences), BATCH):
        yield sequences[i : i + BATCH]


class Client:
    def __init__(
        self, address: str, timeout=120.0, credentials=None, channel_options=()
    ):
        """`credentials` of a grpc channel; without, plaintext."""
        self.timeout = timeout
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            # A test that restarts its server does not wait for back-off.
            ("grpc.initial_reconnect_backoff_ms", 50),
            ("grpc.max_reconnect_backoff_ms", 200),
            ("grpc.use_local_subchannel_pool", 1),
            *channel_options,
        ]
        self.channel = (
            grpc.secure_channel(address, credentials, options)
            if credentials
            else grpc.insecure_channel(address, options)
        )
        self.checkpoints = stub(self.channel, "CheckpointService")
        self.calibrations = stub(self.channel, "CalibrationService")
        self.quantization = stub(self.channel, "QuantizationService")
        self.bundles = stub(self.channel, "BundleService")
        self.models = stub(self.channel, "ModelService")
        self.inference = stub(self.channel, "InferenceService")

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # Checkpoints

    def upload_checkpoint(self, checkpoint_id, files, **options):
        return self.checkpoints.UploadCheckpoint(
            upload_messages(checkpoint_id, files, **options),
            timeout=self.timeout,
        )

    def get_checkpoint(self, checkpoint_id):
        return self.checkpoints.GetCheckpoint(
            pb.GetCheckpointRequest(name=f"checkpoints/{checkpoint_id}"),
            timeout=self.timeout,
        )

    def serve_floats(self, **models):
        """`models`: files of checkpoints, by the name they are served under."""
        for name, files in models.items():
            self.upload_checkpoint(name, files)
            self.load(name, f"checkpoints/{name}")

    # Calibrations

    def create_calibration(self, calibration_id, checkpoint_id, **fields):
        return self.calibrations.CreateCalibration(
            pb.CreateCalibrationRequest(
                calibration_id=calibration_id,
                checkpoint=f"checkpoints/{checkpoint_id}",
                **fields,
            ),
            timeout=self.timeout,
        )

    def upload_batches(self, calibration_id, batches):
        """`batches`: ModelInputs or NamedActivations."""

        def messages():
            for batch in batches:
                field = (
                    "inputs"
                    if isinstance(batch, pb.ModelInputs)
                    else "activations"
                )
                yield pb.UploadCalibrationBatchesRequest(
                    calibration=f"calibrations/{calibration_id}",
                    **{field: batch},
                )

        return self.calibrations.UploadCalibrationBatches(
            messages(), timeout=self.timeout
        )

    def upload_texts(self, calibration_id, sequences):
        return self.upload_batches(
            calibration_id, map(token_inputs, batches_of(sequences))
        )

    def get_calibration(self, calibration_id):
        return self.calibrations.GetCalibration(
            pb.GetCalibrationRequest(name=f"calibrations/{calibration_id}"),
            timeout=self.timeout,
        )

    # Quantization

    def start_quantization(
        self, checkpoint_id, bundle_id, calibration_id="", **spec
    ):
        return self.quantization.Quantize(
            pb.QuantizeRequest(
                checkpoint=f"checkpoints/{checkpoint_id}",
                calibration=(
                    f"calibrations/{calibration_id}" if calibration_id else ""
                ),
                bundle_id=bundle_id,
                spec=pb.QuantizationSpec(**spec),
            ),
            timeout=self.timeout,
        )

    def watch(self, operation_name):
        return self.quantization.WatchOperation(
            pb.WatchOperationRequest(name=operation_name), timeout=self.timeout
        )

    def quantize(self, checkpoint_id, bundle_id, calibration_id="", **spec):
        """Waits; the operation as it ended."""
        operation = self.start_quantization(
            checkpoint_id, bundle_id, calibration_id, **spec
        )
        *_, last = self.watch(operation.name)
        return last

    # Bundles

    def report(self, bundle_id):
        return self.bundles.GetReport(
            pb.GetReportRequest(name=f"bundles/{bundle_id}"),
            timeout=self.timeout,
        )

    def render_report(self, bundle_id):
        return self.bundles.RenderReport(
            pb.RenderReportRequest(name=f"bundles/{bundle_id}"),
            timeout=self.timeout,
        )

    def download_bundle(self, bundle_id) -> bytes:
        tar = bytearray()
        for piece in self.bundles.DownloadBundle(
            pb.DownloadBundleRequest(name=f"bundles/{bundle_id}"),
            timeout=self.timeout,
        ):
            assert piece.offset == len(tar)
            assert piece.crc32c == crc32c(piece.data)
            tar += piece.data
        return bytes(tar)

    def bundle_files(self, bundle_id) -> dict[str, bytes]:
        return {
            info.name.removeprefix("./"): data
            for info, data in archives.members(self.download_bundle(bundle_id))
        }

    def unpack_bundle(self, bundle_id, directory) -> pathlib.Path:
        for name, data in self.bundle_files(bundle_id).items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return directory

    def upload_bundle(self, bundle_id, tar: bytes):
        def messages():
            yield pb.UploadBundleRequest(
                header=pb.UploadBundleHeader(bundle_id=bundle_id)
            )
            for offset in range(0, len(tar), CHUNK):
                piece = tar[offset : offset + CHUNK]
                yield pb.UploadBundleRequest(
                    chunk=pb.BundleChunk(
                        offset=offset, data=piece, crc32c=crc32c(piece)
                    )
                )

        return self.bundles.UploadBundle(messages(), timeout=self.timeout)

    def delete_bundle(self, bundle_id):
        return self.bundles.DeleteBundle(
            pb.DeleteBundleRequest(name=f"bundles/{bundle_id}"),
            timeout=self.timeout,
        )

    # Models

    def load(self, model_id, source, **options):
        return self.models.LoadModel(
            pb.LoadModelRequest(model_id=model_id, source=source, **options),
            timeout=self.timeout,
        )

    def unload(self, model_id):
        return self.models.UnloadModel(
            pb.UnloadModelRequest(name=f"models/{model_id}"),
            timeout=self.timeout,
        )

    # Inference

    def forward_response(self, model_id, inputs, **options):
        return self.inference.Forward(
            pb.ForwardRequest(
                model=f"models/{model_id}", inputs=inputs, **options
            ),
            timeout=self.timeout,
        )

    def forward(self, model_id, inputs, **options) -> np.ndarray:
        return array(self.forward_response(model_id, inputs, **options).output)

    def embed(self, model_id, sequences, **options) -> np.ndarray:
        return self.forward(model_id, token_inputs(sequences), **options)

    def embed_all(self, model_id, sequences) -> np.ndarray:
        """Any number of sequences, some at a time."""
        return np.concatenate(
            [self.embed(model_id, batch) for batch in batches_of(sequences)]
        )

    def matmul(self, model_id, layer, x, **options) -> np.ndarray:
        response = self.inference.MatMul(
            pb.MatMulRequest(
                model=f"models/{model_id}",
                layer=layer,
                x=x if isinstance(x, pb.Tensor) else tensor(x),
                **options,
            ),
            timeout=self.timeout,
        )
        return array(response.y)
