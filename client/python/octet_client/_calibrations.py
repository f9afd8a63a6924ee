"""The part of Client that is about calibrations."""

from __future__ import annotations

import datetime
import pathlib
import time
from typing import Any, Iterable, Iterator, Union

import numpy as np

from octet_client._files import Path, beside, chunks, download
from octet_client._names import resource_name as _name
from octet_client._protocol import enums, messages
from octet_client._streams import sending
from octet_client._tensors import Tokens, to_inputs, to_tensor

# A batch of a calibration: sequences of token ids, or rows of features.
Batch = Union[Tokens, np.ndarray]

_LOOK_AGAIN_SECONDS = 0.5


class Calibrations:
    """Needs `_methods` and `_call` of Client."""

    _methods: Any
    _call: Any

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
        requests = (_request(name, batch, layer) for batch in batches)
        with sending(requests) as stream:
            return self._methods.UploadCalibrationBatches(stream)

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
        request = messages.DownloadCalibrationRequest(
            name=_name("calibrations", id)
        )
        with beside(target) as aside:
            part = aside / "part"
            download(self._methods.DownloadCalibration, request, part)
            part.rename(target)

    def upload_calibration(self, path: Path, id: str, checkpoint: str) -> Any:
        """Stores a file that download_calibration saved, of any server that
        has the same checkpoint."""

        def requests() -> Iterator[Any]:
            header = messages.UploadCalibrationHeader(
                calibration_id=id,
                checkpoint=_name("checkpoints", checkpoint),
            )
            yield messages.UploadCalibrationRequest(header=header)
            for piece in chunks(path, messages.CalibrationChunk):
                yield messages.UploadCalibrationRequest(chunk=piece)

        with sending(requests()) as stream:
            return self._methods.UploadCalibration(stream)

    def start_capture(
        self,
        calibration: str,
        model: str,
        rate: float = 1.0,
        max_samples: int = 0,
        max_seconds: float | None = None,
    ) -> Any:
        """Adds a share of what `model` is asked from now on to a calibration
        that exists. The server's bounds hold where none are given."""
        request = messages.StartCaptureRequest(
            calibration=_name("calibrations", calibration),
            model=_name("models", model),
            rate=rate,
            max_samples=max_samples,
        )
        if max_seconds is not None:
            duration = datetime.timedelta(seconds=max_seconds)
            request.max_duration.FromTimedelta(duration)
        return self._call("StartCapture", request)

    def stop_capture(self, calibration: str) -> Any:
        """Returns when what was captured is saved."""
        request = messages.StopCaptureRequest(
            calibration=_name("calibrations", calibration)
        )
        return self._call("StopCapture", request)

    def wait_for_capture(self, calibration: str) -> Any:
        """Until it is over; the calibration without layers, whose `capture`
        says why."""
        request = messages.GetCalibrationRequest(
            name=_name("calibrations", calibration), without_layers=True
        )
        while True:
            found = self._call("GetCalibration", request)
            if found.capture.state != vars(enums)["Capture.STATE_RUNNING"]:
                return found
            time.sleep(_LOOK_AGAIN_SECONDS)

    def delete_calibration(self, id: str) -> None:
        request = messages.DeleteCalibrationRequest(
            name=_name("calibrations", id)
        )
        self._call("DeleteCalibration", request)


def _request(name: str, batch: Batch, layer: str) -> Any:
    request = messages.UploadCalibrationBatchesRequest(calibration=name)
    if layer:
        request.activations.layer = layer
        request.activations.rows.CopyFrom(to_tensor(np.asarray(batch)))
    elif isinstance(batch, np.ndarray) and batch.dtype.kind == "f":
        request.inputs.CopyFrom(to_inputs(features=batch))
    else:
        request.inputs.CopyFrom(to_inputs(tokens=batch))
    return request
