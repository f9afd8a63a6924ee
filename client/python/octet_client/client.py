"""The client: one object per server, one method per thing to do."""

from __future__ import annotations

import os
import pathlib
import tarfile
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Iterator, Optional, Union

import google_crc32c
import grpc
import numpy as np

from octet_client._protocol import Methods, enums, messages
from octet_client._tensors import Tokens, to_array, to_inputs, to_tensor
from octet_client._upload import CheckpointUpload, Progress
from octet_client.errors import OctetError, from_status, translated

Path = Union[str, os.PathLike]
# A batch of a calibration: sequences of token ids, or rows of features.
Batch = Union[Tokens, np.ndarray]


@dataclass(frozen=True)
class Timings:
    """Where the time of one request went on the server, in seconds."""

    queue: float
    quantize: float
    dot: float
    dequantize: float
    outlier: float
    total: float

    @classmethod
    def of(cls, message: Any) -> Timings:
        return cls(
            *(
                getattr(message, name).ToTimedelta().total_seconds()
                if message.HasField(name)
                else 0.0
                for name in cls.__dataclass_fields__
            )
        )


def _name(collection: str, identifier: str) -> str:
    return identifier if "/" in identifier else f"{collection}/{identifier}"


class Client:
    """A connection to octet-server. Ids may be bare ("minilm") or full resource
    names ("bundles/minilm"). Results that are not arrays are messages of
    proto/octet/v1. Safe to use from several threads.

    server:   host:port
    timeout:  seconds for each unary call; None waits as long as it takes
    """

    def __init__(
        self, server: str = "127.0.0.1:8001", timeout: float | None = None
    ):
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5000),
        ]
        self._channel = grpc.insecure_channel(server, options)
        self._methods = Methods(self._channel)
        self._timeout = timeout

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, request: Any) -> Any:
        with translated():
            return getattr(self._methods, method)(
                request, timeout=self._timeout
            )

    # Checkpoints

    def upload_checkpoint(
        self, path: Path, id: str, progress: Progress = None
    ) -> Any:
        """Uploads a checkpoint directory; goes on where an interrupted upload
        of the same files ended. progress(sent_bytes, all_bytes)."""
        upload = CheckpointUpload(
            self._methods, pathlib.Path(path), id, progress
        )
        return upload.run()

    def get_checkpoint(self, id: str) -> Any:
        request = messages.GetCheckpointRequest(name=_name("checkpoints", id))
        return self._call("GetCheckpoint", request)

    def list_checkpoints(self) -> list[Any]:
        request = messages.ListCheckpointsRequest()
        return list(self._call("ListCheckpoints", request).checkpoints)

    def delete_checkpoint(self, id: str) -> None:
        request = messages.DeleteCheckpointRequest(
            name=_name("checkpoints", id)
        )
        self._call("DeleteCheckpoint", request)

    # Calibrations

    def create_calibration(
        self,
        id: str,
        checkpoint: str,
        kept_rows: int = 0,
        kept_samples: int = 0,
        seed: int = 0,
    ) -> Any:
        """Zeros are the server's defaults. Calibrations that will be merged
        need the same seed."""
        request = messages.CreateCalibrationRequest(
            calibration_id=id,
            checkpoint=_name("checkpoints", checkpoint),
            options=messages.CalibrationOptions(
                kept_rows=kept_rows, kept_samples=kept_samples, seed=seed
            ),
        )
        return self._call("CreateCalibration", request)

    def calibrate(
        self, calibration: str, batches: Iterable[Batch], layer: str = ""
    ) -> Any:
        """Streams batches: lists of token-id sequences, or feature matrices.
        With `layer`, matrices are inputs of that linear layer. Not repeated
        when the connection breaks: a batch must not count twice."""
        name = _name("calibrations", calibration)
        failures: list[BaseException] = []

        def requests() -> Iterator[Any]:
            # gRPC runs this on a thread of its own and drops exceptions.
            try:
                for batch in batches:
                    yield _calibration_request(name, batch, layer)
            except Exception as error:
                failures.append(error)
                raise

        try:
            with translated():
                return self._methods.UploadCalibrationBatches(requests())
        except OctetError:
            if failures:
                raise failures[0] from None
            raise

    def get_calibration(self, id: str, channels: bool = False) -> Any:
        """With `channels`, every layer has channel_min and channel_max."""
        request = messages.GetCalibrationRequest(
            name=_name("calibrations", id), channels=channels
        )
        return self._call("GetCalibration", request)

    def list_calibrations(self) -> list[Any]:
        request = messages.ListCalibrationsRequest()
        return list(self._call("ListCalibrations", request).calibrations)

    def merge_calibrations(self, into: str, others: Iterable[str]) -> Any:
        request = messages.MergeCalibrationsRequest(
            into=_name("calibrations", into)
        )
        # The field is called "from", a keyword of Python.
        names = [_name("calibrations", other) for other in others]
        getattr(request, "from").extend(names)
        return self._call("MergeCalibrations", request)

    def download_calibration(self, id: str, path: Path) -> None:
        """Saves a calibration as the file `path`, which must not exist."""
        target = pathlib.Path(path)
        if target.exists():
            raise FileExistsError(f"{target} exists already")
        part = target.with_name(target.name + ".part")
        request = messages.DownloadCalibrationRequest(
            name=_name("calibrations", id)
        )
        try:
            self._download(self._methods.DownloadCalibration, request, part)
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)

    def upload_calibration(self, path: Path, id: str, checkpoint: str) -> Any:
        """Stores a file that download_calibration saved, of any server that
        has the same checkpoint."""

        def requests() -> Iterator[Any]:
            header = messages.UploadCalibrationHeader(
                calibration_id=id, checkpoint=_name("checkpoints", checkpoint)
            )
            yield messages.UploadCalibrationRequest(header=header)
            for piece in _chunks(path, messages.CalibrationChunk):
                yield messages.UploadCalibrationRequest(chunk=piece)

        with translated():
            return self._methods.UploadCalibration(requests())

    def delete_calibration(self, id: str) -> None:
        request = messages.DeleteCalibrationRequest(
            name=_name("calibrations", id)
        )
        self._call("DeleteCalibration", request)

    # Quantization

    def start_quantization(
        self,
        checkpoint: str,
        bundle: str,
        calibration: str = "",
        scheme: str = "w8a8_dynamic",
        float_scheme: str = "fp16",
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        keep_first: bool = False,
        keep_last: bool = False,
        overrides: Iterable[tuple[str, str]] = (),
        outlier_rule: str = "absolute",
        outlier_threshold: float = 6.0,
    ) -> Any:
        """Starts a quantization and returns its operation."""
        spec = messages.QuantizationSpec(
            scheme=_enum("SCHEME", scheme),
            float_scheme=_enum("SCHEME", float_scheme),
            include=include,
            exclude=exclude,
            keep_first=keep_first,
            keep_last=keep_last,
            overrides=[
                messages.SchemeOverride(
                    pattern=pattern, scheme=_enum("SCHEME", name)
                )
                for pattern, name in overrides
            ],
            outlier_rule=_enum("OUTLIER_RULE", outlier_rule),
            outlier_threshold=outlier_threshold,
        )
        request = messages.QuantizeRequest(
            checkpoint=_name("checkpoints", checkpoint),
            calibration=calibration and _name("calibrations", calibration),
            bundle_id=bundle,
            spec=spec,
        )
        return self._call("Quantize", request)

    def quantize(
        self,
        checkpoint: str,
        bundle: str,
        progress: Optional[Callable[[Any], None]] = None,
        **options: Any,
    ) -> Any:
        """start_quantization, followed to its end; returns the bundle.
        progress(operation) sees every state. KeyboardInterrupt cancels it on
        the server."""
        started = self.start_quantization(checkpoint, bundle, **options)
        try:
            last = self.wait(started.name, progress)
        except KeyboardInterrupt:
            self.cancel_operation(started.name)
            raise
        return self.get_bundle(last.bundle)

    def wait(
        self,
        operation: str,
        progress: Optional[Callable[[Any], None]] = None,
    ) -> Any:
        """Follows an operation; raises OctetError unless it succeeds."""
        request = messages.WatchOperationRequest(
            name=_name("operations", operation)
        )
        last = None
        with translated():
            for last in self._methods.WatchOperation(request):
                if progress is not None:
                    progress(last)
        states = vars(enums)
        if last is None:
            raise OctetError(
                grpc.StatusCode.UNKNOWN, f"{request.name} showed no state"
            )
        if last.state == states["Operation.STATE_SUCCEEDED"]:
            return last
        if last.state == states["Operation.STATE_CANCELLED"]:
            raise OctetError(
                grpc.StatusCode.CANCELLED, f"{request.name} was cancelled"
            )
        raise from_status(last.error)

    def get_operation(self, id: str) -> Any:
        request = messages.GetOperationRequest(name=_name("operations", id))
        return self._call("GetOperation", request)

    def list_operations(self) -> list[Any]:
        request = messages.ListOperationsRequest()
        return list(self._call("ListOperations", request).operations)

    def cancel_operation(self, id: str) -> Any:
        request = messages.CancelOperationRequest(name=_name("operations", id))
        return self._call("CancelOperation", request)

    # Bundles

    def get_bundle(self, id: str) -> Any:
        request = messages.GetBundleRequest(name=_name("bundles", id))
        return self._call("GetBundle", request)

    def list_bundles(self) -> list[Any]:
        request = messages.ListBundlesRequest()
        return list(self._call("ListBundles", request).bundles)

    def delete_bundle(self, id: str) -> None:
        request = messages.DeleteBundleRequest(name=_name("bundles", id))
        self._call("DeleteBundle", request)

    def report(self, bundle: str) -> Any:
        """What quantization did, per layer and for the whole model."""
        request = messages.GetReportRequest(name=_name("bundles", bundle))
        return self._call("GetReport", request)

    def report_page(self, bundle: str) -> str:
        """The report as one HTML page that needs nothing else."""
        request = messages.RenderReportRequest(name=_name("bundles", bundle))
        return self._call("RenderReport", request).content.decode()

    def download_bundle(
        self, id: str, path: Path, unpack: bool = False
    ) -> None:
        """Saves a bundle as the tar file `path`, or unpacked into the directory
        `path`. Neither may exist."""
        target = pathlib.Path(path)
        if target.exists():
            raise FileExistsError(f"{target} exists already")
        part = target.with_name(target.name + ".part.tar")
        unpacked = target.with_name(target.name + ".part")
        try:
            request = messages.DownloadBundleRequest(name=_name("bundles", id))
            self._download(self._methods.DownloadBundle, request, part)
            if not unpack:
                part.rename(target)
                return
            with tarfile.open(part) as tar:
                _extract(tar, unpacked)
            unpacked.rename(target)
        finally:
            part.unlink(missing_ok=True)

    @staticmethod
    def _download(method: Any, request: Any, path: pathlib.Path) -> None:
        received = 0
        with path.open("wb") as file, translated():
            for chunk in method(request):
                crc = google_crc32c.value(chunk.data)
                if chunk.offset != received or crc != chunk.crc32c:
                    raise OctetError(
                        grpc.StatusCode.DATA_LOSS,
                        f"the chunk at byte {received} is damaged",
                    )
                file.write(chunk.data)
                received += len(chunk.data)

    def upload_bundle(self, path: Path, id: str) -> Any:
        """Uploads a tar file as download_bundle saves it."""

        def requests() -> Iterator[Any]:
            header = messages.UploadBundleHeader(bundle_id=id)
            yield messages.UploadBundleRequest(header=header)
            for piece in _chunks(path, messages.BundleChunk):
                yield messages.UploadBundleRequest(chunk=piece)

        with translated():
            return self._methods.UploadBundle(requests())

    # Models

    def load(self, model: str, source: str) -> Any:
        """Serves `source`, "bundles/{id}" or "checkpoints/{id}", as `model`;
        replaces what was served under that name."""
        request = messages.LoadModelRequest(model_id=model, source=source)
        return self._call("LoadModel", request)

    def unload(self, model: str) -> None:
        request = messages.UnloadModelRequest(name=_name("models", model))
        self._call("UnloadModel", request)

    def get_model(self, id: str) -> Any:
        request = messages.GetModelRequest(name=_name("models", id))
        return self._call("GetModel", request)

    def list_models(self) -> list[Any]:
        return list(
            self._call("ListModels", messages.ListModelsRequest()).models
        )

    def model_stats(self, id: str) -> Any:
        request = messages.GetModelStatsRequest(name=_name("models", id))
        return self._call("GetModelStats", request)

    # Inference

    def forward(
        self,
        model: str,
        token_ids: Tokens | None = None,
        features: np.ndarray | None = None,
        hidden_states: bool = False,
    ) -> np.ndarray:
        """The model's output rows: one per sequence where it pools, one per
        token with hidden_states."""
        return self.timed_forward(model, token_ids, features, hidden_states)[0]

    def timed_forward(
        self,
        model: str,
        token_ids: Tokens | None = None,
        features: np.ndarray | None = None,
        hidden_states: bool = False,
    ) -> tuple[np.ndarray, Timings]:
        kind = "HIDDEN_STATES" if hidden_states else "MODEL"
        request = messages.ForwardRequest(
            model=_name("models", model),
            inputs=to_inputs(token_ids, features),
            output=_enum("OUTPUT_KIND", kind),
        )
        response = self._call("Forward", request)
        return to_array(response.output), Timings.of(response.timings)

    def matmul(self, model: str, layer: str, x: np.ndarray) -> np.ndarray:
        """x W^T + b of one linear layer."""
        return self.timed_matmul(model, layer, x)[0]

    def timed_matmul(
        self, model: str, layer: str, x: np.ndarray
    ) -> tuple[np.ndarray, Timings]:
        request = messages.MatMulRequest(
            model=_name("models", model), layer=layer, x=to_tensor(x)
        )
        response = self._call("MatMul", request)
        return to_array(response.y), Timings.of(response.timings)


def _enum(prefix: str, name: str) -> int:
    number = vars(enums).get(f"{prefix}_{name.upper()}")
    if number is None:
        names = sorted(
            key[len(prefix) + 1 :].lower()
            for key, value in vars(enums).items()
            if key.startswith(f"{prefix}_") and value != 0
        )
        raise ValueError(f"{name!r} is not one of {', '.join(names)}")
    return number


def _calibration_request(name: str, batch: Batch, layer: str) -> Any:
    request = messages.UploadCalibrationBatchesRequest(calibration=name)
    if layer:
        request.activations.layer = layer
        request.activations.rows.CopyFrom(to_tensor(np.asarray(batch)))
    elif isinstance(batch, np.ndarray) and batch.dtype.kind == "f":
        request.inputs.CopyFrom(to_inputs(features=batch))
    else:
        request.inputs.CopyFrom(to_inputs(tokens=batch))
    return request


def _chunks(path: Path, message: Callable[..., Any]) -> Iterator[Any]:
    offset = 0
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            crc = google_crc32c.value(data)
            yield message(offset=offset, data=data, crc32c=crc)
            offset += len(data)


def _extract(tar: tarfile.TarFile, directory: pathlib.Path) -> None:
    """Regular files below `directory` and nothing else."""
    for member in tar:
        target = directory / member.name
        inside = target.resolve().is_relative_to(directory.resolve())
        source = tar.extractfile(member) if member.isreg() else None
        if source is None or not inside:
            raise OctetError(
                grpc.StatusCode.DATA_LOSS,
                f"the tar's {member.name!r} is not a file below its directory",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("wb") as file:
            while block := source.read(1 << 20):
                file.write(block)
