"""The client: one object per server, one method per thing to do."""

from __future__ import annotations

import pathlib
import tarfile
from dataclasses import dataclass
from typing import Any, Iterable, Iterator

import numpy as np

from octet_client._calibrations import Calibrations
from octet_client._credentials import open_channel
from octet_client._files import Path, beside, chunks, download, extract
from octet_client._names import resource_name as _name
from octet_client._protocol import Methods, messages
from octet_client._quantizations import Quantizations
from octet_client._spec import enum_value
from octet_client._streams import sending
from octet_client._tensors import Tokens, to_array, to_inputs, to_tensor
from octet_client._upload import CheckpointUpload, Progress
from octet_client.errors import OctetError, from_status, translated


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
                # A timedelta would round to microseconds.
                duration.seconds + duration.nanos * 1e-9
                for duration in (
                    getattr(message, name) for name in cls.__dataclass_fields__
                )
            )
        )


class Client(Calibrations, Quantizations):
    """A connection to octet-server. Ids may be bare ("minilm") or full resource
    names ("bundles/minilm"). Results that are not arrays are messages of
    proto/octet/v1. Safe to use from several threads.

    server:   host:port
    timeout:  seconds for each unary call; None waits as long as it takes
    tls:      encrypt, trusting the authorities that gRPC trusts
    tls_ca:   the same with the authorities in this PEM file
    tls_cert, tls_key: our certificate for mutual TLS, PEM files
    tls_server_name: the name on the server's certificate, where it does not
        name the host of `server`
    token_file: file with our bearer token, sent with every call
    allow_plaintext_tokens: also without TLS to another machine
    """

    def __init__(
        self,
        server: str = "127.0.0.1:8001",
        timeout: float | None = None,
        *,
        tls: bool = False,
        tls_ca: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        tls_server_name: str | None = None,
        token_file: Path | None = None,
        allow_plaintext_tokens: bool = False,
    ):
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 5000),
        ]
        self._channel = open_channel(
            server,
            options,
            tls,
            tls_ca,
            tls_cert,
            tls_key,
            tls_server_name,
            token_file,
            allow_plaintext_tokens,
        )
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
        request = messages.DownloadBundleRequest(name=_name("bundles", id))
        with beside(target) as aside:
            whole = aside / "tar"
            download(self._methods.DownloadBundle, request, whole)
            if unpack:
                with tarfile.open(whole) as tar:
                    whole = aside / "unpacked"
                    extract(tar, whole)
            whole.rename(target)

    def upload_bundle(self, path: Path, id: str) -> Any:
        """Uploads a tar file as download_bundle saves it."""

        def requests() -> Iterator[Any]:
            header = messages.UploadBundleHeader(bundle_id=id)
            yield messages.UploadBundleRequest(header=header)
            for piece in chunks(path, messages.BundleChunk):
                yield messages.UploadBundleRequest(chunk=piece)

        with sending(requests()) as stream:
            return self._methods.UploadBundle(stream)

    # Models

    # An `id` of a model may also be "models/{id}/versions/{number}".

    def load(
        self,
        model: str,
        source: str,
        version: int = 0,
        traffic_share: float | None = None,
        shadow_rate: float = 0,
    ) -> Any:
        """Serves `source`, "bundles/{id}" or "checkpoints/{id}", as `model`, as
        the next version or the one asked for. It replaces what was served under
        that name; with `traffic_share` it is served beside it, with that share
        of the requests that name no version. `shadow_rate` of its requests are
        computed again in float, for metrics."""
        request = messages.LoadModelRequest(
            model_id=model,
            source=source,
            version=version,
            traffic_share=traffic_share,
            shadow_rate=shadow_rate,
        )
        return self._call("LoadModel", request)

    def unload(self, model: str, version: int = 0) -> None:
        """Stops serving all versions, or one, after their last request."""
        name = _name("models", model)
        if version:
            name += f"/versions/{version}"
        self._call("UnloadModel", messages.UnloadModelRequest(name=name))

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
            output=enum_value("OUTPUT_KIND", kind),
        )
        response = self._call("Forward", request)
        return to_array(response.output), Timings.of(response.timings)

    def matmul(self, model: str, layer: str, x: np.ndarray) -> np.ndarray:
        """x W^T + b of one linear layer."""
        return self.timed_matmul(model, layer, x)[0]

    def stream_matmul(
        self, model: str, layer: str, xs: Iterable[np.ndarray]
    ) -> Iterator[np.ndarray | OctetError]:
        """matmul of each x over one stream: the server works on many at a time
        and answers in their order. Takes of `xs` as fast as the server does. An
        x that the server cannot multiply gives its error in place of the array;
        what breaks the stream is raised, and so is what `xs` raises."""

        def requests() -> Iterator[Any]:
            name = _name("models", model)
            for x in xs:
                request = messages.MatMulRequest(
                    model=name, layer=layer, x=to_tensor(x)
                )
                yield messages.StreamMatMulRequest(request=request)

        with sending(requests()) as stream:
            answers = self._methods.StreamMatMul(stream)
            try:
                for answer in answers:
                    if answer.HasField("status"):
                        yield from_status(answer.status)
                    else:
                        yield to_array(answer.response.y)
            finally:
                answers.cancel()

    def timed_matmul(
        self, model: str, layer: str, x: np.ndarray
    ) -> tuple[np.ndarray, Timings]:
        request = messages.MatMulRequest(
            model=_name("models", model), layer=layer, x=to_tensor(x)
        )
        response = self._call("MatMul", request)
        return to_array(response.y), Timings.of(response.timings)
