"""Ray: extraction and workers as tasks, placed and started again by Ray."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tuner.cluster import tasks
from tuner.errors import StudyError, TunerError, UsageError
from tuner.study import Job, Listener, Progress
from tuner.text import first_line

if TYPE_CHECKING:
    from tuner.config import StudyConfig
    from tuner.features.device import Device
    from tuner.features.extract import OnProgress
    from tuner.features.wanted import ViewOf

_CHUNKS_A_TASK = 4  # a task lasts long against its start, and little is lost with its node
_TRIES = 20  # of a task whose process or node dies; trials are counted by search.retries
_LOOK_S = 1.0
_KNOCK_S = 10.0
_LINGER_S = 60.0  # for workers that end while the budget is met
_SENT = ("TUNER_", "KERAS_BACKEND", "MLFLOW_", "PYTHONPATH", "TF_", "XLA_", "JAX_")
_OBJECTS_BYTES = 100 * 2**20  # a cluster of this machine alone; hardly anything is sent


class RayCluster:
    """A Ray cluster as the place where a study is computed.

    Args:
        address: Of a running cluster, or "local" to start one on this machine.
        workers: Tasks that train at the same time.
        gpus_per_worker: Share of a card of each; 0 for the CPU.

    Raises:
        UsageError: If Ray is not installed.
        StudyError: If the cluster cannot be reached.
    """

    def __init__(self, address: str, *, workers: int, gpus_per_worker: float) -> None:
        self._ray = _connect(address)
        self._workers, self._gpus = workers, gpus_per_worker

    def __str__(self) -> str:
        """Nodes, processors and cards, in words."""
        nodes = sum(bool(node["Alive"]) for node in self._ray.nodes())
        have = self._ray.cluster_resources()
        cards = f", {have['GPU']:g} GPUs" if have.get("GPU") else ""
        return f"{nodes} nodes, {have.get('CPU', 0):g} CPUs{cards}, {self._workers} workers"

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self._ray.shutdown()

    def find_device(self, config: StudyConfig) -> Device:
        """What the workers compute a study on."""
        device: Device = self._get(self._task(tasks.find_worker_device).remote(config))
        return device

    def extract(
        self, job: Job, chunks: Sequence[Sequence[ViewOf]], on_progress: OnProgress
    ) -> int:
        """Compute chunks of the bank on all nodes; returns the number of rows computed."""
        task = self._task(tasks.extract)
        parts = [
            list(chunks[i : i + _CHUNKS_A_TASK]) for i in range(0, len(chunks), _CHUNKS_A_TASK)
        ]
        total, done, start = sum(map(len, chunks)), 0, time.monotonic()
        with self._cancelled_on_error([task.remote(job, part) for part in parts]) as pending:
            while pending:
                ended, pending[:] = self._ray.wait(pending, num_returns=1)
                done += sum(self._get(ref) for ref in ended)
                on_progress(Progress(done, total, time.monotonic() - start))
        return done

    def search(self, job: Job, look: Callable[[], bool]) -> None:
        """Run the workers until the budget is met.

        Args:
            job: What they do.
            look: Called every second; returns whether nothing is left to do.

        Raises:
            TunerError: What ended a worker, when the others could not meet the budget without it.
        """
        task, fault, met_s = self._task(tasks.work), None, None
        with self._cancelled_on_error([task.remote(job) for _ in range(self._workers)]) as pending:
            while pending:
                ended, pending[:] = self._ray.wait(pending, num_returns=1, timeout=_LOOK_S)
                for ref in ended:
                    try:
                        self._get(ref)
                    except TunerError as error:
                        fault = error
                is_met = look()
                met_s = (met_s or time.monotonic()) if is_met else None
                if met_s is not None and time.monotonic() - met_s > _LINGER_S:
                    break  # what is left waits for a place that a lost node has taken along
        if fault is not None and not look():
            raise fault

    def _task(self, function: Callable[..., Any]) -> Any:
        options = {"num_cpus": 1, "num_gpus": self._gpus, "max_retries": _TRIES}
        return self._ray.remote(**options)(function)

    def _get(self, ref: Any) -> Any:
        """The result of a task; its error as it was raised there."""
        try:
            return self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TunerError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            raise StudyError(
                f"Ray gave a task up: {first_line(error)}",
                where=f"after {_TRIES} tries",
                do="look at `ray status` and at the logs of the nodes; then start the same "
                "command again",
            ) from error

    @contextmanager
    def _cancelled_on_error(self, refs: list[Any]) -> Iterator[list[Any]]:
        """Interrupt what is left when the block ends; workers then give their trials back."""
        try:
            yield refs
        finally:
            for ref in refs:
                self._ray.cancel(ref)
            if refs:
                self._ray.wait(refs, num_returns=len(refs), timeout=10)


@contextmanager
def cluster_of(
    address: str | None, listener: Listener, *, workers: int, gpus_per_worker: float
) -> Iterator[RayCluster | None]:
    """A Ray cluster for the time of the block; None without an address."""
    if address is None:
        yield None
        return
    with listener.status("connecting to Ray"):
        cluster = RayCluster(address, workers=workers, gpus_per_worker=gpus_per_worker)
    try:
        listener.fact("ray", f"{address}, {cluster}")
        yield cluster
    finally:
        cluster.close()


def _connect(address: str) -> Any:
    # Ray reports on its use by default, as MLflow does.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--ray needs a package that is not installed: ray",
            do="pip install 'imbalance-tuner[ray]', on all nodes",
        ) from error
    sent = {name: value for name, value in os.environ.items() if name.startswith(_SENT)}
    options: dict[str, Any] = {"runtime_env": {"env_vars": sent}}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": _OBJECTS_BYTES}
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level="ERROR", **options)
    except ray.exceptions.AuthenticationError as error:
        raise StudyError(
            "the Ray cluster wants a token that this machine does not show",
            where=address,
            do="set RAY_AUTH_MODE=token, with the head node's ~/.ray/auth_token in its place here",
        ) from error
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise StudyError(
            f"the Ray cluster cannot be reached: {first_line(error)}",
            where=address,
            do="start it with `ray start --head` and give its address, as 10.0.0.1:6379",
        ) from error
    return ray


def _knock(address: str) -> None:
    """Raise at once what Ray would find out by trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
