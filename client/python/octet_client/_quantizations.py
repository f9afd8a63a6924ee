"""The part of Client that is about quantizations and their operations."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Optional

import grpc

from octet_client._names import resource_name as _name
from octet_client._protocol import enums, messages
from octet_client._retry import Backoff
from octet_client._spec import Override, quantization_spec
from octet_client.errors import OctetError, from_status, translated

_STATES = vars(enums)
_ENDED = tuple(
    _STATES[f"Operation.STATE_{state}"]
    for state in ("SUCCEEDED", "FAILED", "CANCELLED")
)


class Quantizations:
    """Needs `_methods`, `_call` and `get_bundle` of Client."""

    _methods: Any
    _call: Any
    get_bundle: Any

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
        overrides: Iterable[tuple[str, Override]] = (),
        outlier_rule: str = "absolute",
        outlier_threshold: float = 6.0,
        policy: str = "fixed",
        budget: Optional[Mapping[str, float]] = None,
        methods: Optional[Mapping[str, Any]] = None,
        max_shard_bytes: int = 0,
    ) -> Any:
        """Starts a quantization and returns its operation.

        policy "auto" finds the fastest plan within a budget such as
        {"min_mean_cosine": 0.9995}: one limit of proto's Budget, and
        "min_worst_cosine" beside it if wanted.
        methods are fields of proto's QuantizationMethods, with enum values by
        name: {"rounding": "gptq", "hadamard_block": 256}.
        overrides pair a pattern with a scheme, or with methods and a "scheme".
        Tensor files larger than max_shard_bytes (0: 5 GB) are divided.
        """
        spec = quantization_spec(
            policy=policy,
            budget=budget,
            methods=methods or {},
            scheme=scheme,
            float_scheme=float_scheme,
            include=include,
            exclude=exclude,
            keep_first=keep_first,
            keep_last=keep_last,
            overrides=overrides,
            outlier_rule=outlier_rule,
            outlier_threshold=outlier_threshold,
        )
        request = messages.QuantizeRequest(
            checkpoint=_name("checkpoints", checkpoint),
            calibration=calibration and _name("calibrations", calibration),
            bundle_id=bundle,
            spec=spec,
            max_shard_bytes=max_shard_bytes,
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
        """Follows an operation, over as many connections as it takes; raises
        OctetError unless it succeeds."""
        last = self._end_of(_name("operations", operation), progress)
        if last.state == _STATES["Operation.STATE_SUCCEEDED"]:
            return last
        if last.state == _STATES["Operation.STATE_CANCELLED"]:
            raise OctetError(
                grpc.StatusCode.CANCELLED, f"{last.name} was cancelled"
            )
        raise from_status(last.error)

    def _end_of(
        self, name: str, progress: Optional[Callable[[Any], None]]
    ) -> Any:
        request = messages.WatchOperationRequest(name=name)
        backoff = Backoff()
        while True:
            try:
                with translated():
                    for operation in self._methods.WatchOperation(request):
                        backoff.progressed()
                        if progress is not None:
                            progress(operation)
                        if operation.state in _ENDED:
                            return operation
                raise OctetError(
                    grpc.StatusCode.UNAVAILABLE,
                    f"the watch of {name} ended before it",
                )
            except OctetError as error:
                if not error.connection_broke or not backoff.wait():
                    raise

    def get_operation(self, id: str) -> Any:
        request = messages.GetOperationRequest(name=_name("operations", id))
        return self._call("GetOperation", request)

    def list_operations(self) -> list[Any]:
        request = messages.ListOperationsRequest()
        return list(self._call("ListOperations", request).operations)

    def cancel_operation(self, id: str) -> Any:
        request = messages.CancelOperationRequest(name=_name("operations", id))
        return self._call("CancelOperation", request)
