"""Errors of a worker, each carrying its facts as fields and building its message in `__str__`."""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path


class WorkerError(Exception):
    """Base of every error this package raises on purpose."""


class Diverged(WorkerError):
    """Training produced a number that is not finite."""

    def __init__(self, epoch: int, metric: str, value: float, where: str | None = None) -> None:
        super().__init__(epoch, metric, value, where)
        self.epoch = epoch
        self.metric = metric
        self.value = value
        self.where = where

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"diverged: {self.metric} is {self.value} after epoch {self.epoch}{place}"


class DataMissing(WorkerError):
    """The files of a data set are not where this worker looks for them."""

    def __init__(self, dataset: str, looked_for: Sequence[Path]) -> None:
        super().__init__(dataset, tuple(looked_for))
        self.dataset = dataset
        self.looked_for = tuple(looked_for)

    def __str__(self) -> str:
        paths = ", ".join(str(path) for path in self.looked_for)
        return (
            f"{self.dataset} was not found; looked for {paths}; "
            "set --data-root (or ACTSEARCH_DATA_ROOT) to the folder that holds it"
        )


class BadData(WorkerError):
    """A file of a data set exists and is not what its name says."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class TooFewSamples(WorkerError):
    """More training samples were asked for than the training split has."""

    def __init__(self, asked: int, available: int) -> None:
        super().__init__(asked, available)
        self.asked = asked
        self.available = available

    def __str__(self) -> str:
        return f"train_samples: the training split has {self.available}, not {self.asked}"


class UnknownNetwork(WorkerError, LookupError):
    """A source of networks has none of that name."""

    def __init__(self, source: str, name: str, known: Sequence[str]) -> None:
        super().__init__(source, name, tuple(known))
        self.source = source
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        near = get_close_matches(self.name, self.known, n=5) or self.known[:5]
        return f"{self.source} has no network {self.name!r}; it has {', '.join(near)} and others"


class NetworkChanged(WorkerError):
    """The sites found now are not those that the candidate was made for."""

    def __init__(self, expected: str | None, found: str, sites: Sequence[str]) -> None:
        super().__init__(expected, found, tuple(sites))
        self.expected = expected
        self.found = found
        self.sites = tuple(sites)

    def __str__(self) -> str:
        return (
            "the network is not the one this search was planned for: its sites are now "
            f"{', '.join(self.sites) or 'none'} (fingerprint {self.found}, planned "
            f"{self.expected}); submit the changed network as a new search"
        )


class UnreadableCheckpoint(WorkerError):
    """A checkpoint was written by a version that this worker does not know."""

    def __init__(self, version: str | None, known: str) -> None:
        super().__init__(version, known)
        self.version = version
        self.known = known

    def __str__(self) -> str:
        return f"the checkpoint has version {self.version!r}; this worker reads {self.known!r}"


class NotCheckpointable(WorkerError):
    """A state to be saved holds an object that has no safe form in a file."""

    def __init__(self, where: str, kind: str) -> None:
        super().__init__(where, kind)
        self.where = where
        self.kind = kind

    def __str__(self) -> str:
        return (
            f"{self.where}: a checkpoint holds tensors, numbers, text, lists and dicts, "
            f"not a {self.kind}"
        )


class BadArtifact(WorkerError):
    """A download is not what its digest promised."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(name, expected, found)
        self.name = name
        self.expected = expected
        self.found = found

    def __str__(self) -> str:
        return f"{self.name}: sha256 is {self.found}, expected {self.expected}"


class NoDiskSpace(WorkerError):
    """A file could not be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot write {self.path}: {self.reason}"


class NoGpuMemory(WorkerError):
    """Something else holds the memory of a GPU that a trial's share is of."""

    def __init__(self, gpu: str, free: float, wanted: float) -> None:
        super().__init__(gpu, free, wanted)
        self.gpu = gpu
        self.free = free
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"{self.gpu}: {self.free:.2f} GiB are free, less than {self.wanted:.2f} GiB, half of a "
            "trial's share; `nvidia-smi` lists what else runs there"
        )


class MisusedHandle(WorkerError):
    """A training script called the handle in an order that cannot work."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class NotMeasurable(WorkerError):
    """A network cannot be measured in the form that a search asks for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot be measured: {self.reason}"


class NotRepeatable(WorkerError):
    """A trial cannot be trained again here."""

    def __init__(self, trial: str, reason: str) -> None:
        super().__init__(trial, reason)
        self.trial = trial
        self.reason = reason

    def __str__(self) -> str:
        return f"trial {self.trial} cannot be trained again: {self.reason}"


class CannotRetrain(WorkerError):
    """What was given to a retraining is not of use."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}"


class BadTaskFile(WorkerError):
    """A file of tasks says something that this worker does not understand."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class BadSetting(WorkerError):
    """A setting of the worker's command has no meaning here."""

    def __init__(self, setting: str, given: str, expected: str) -> None:
        super().__init__(setting, given, expected)
        self.setting = setting
        self.given = given
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.setting}: expected {self.expected}, got {self.given!r}"


class ServiceError(WorkerError):
    """Base of what may go wrong between a worker and the service."""


class ServiceAway(ServiceError):
    """The service did not answer for as long as the caller was willing to wait."""

    def __init__(self, url: str, seconds: float, reason: str) -> None:
        super().__init__(url, seconds, reason)
        self.url = url
        self.seconds = seconds
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url} has not answered for {self.seconds:.0f} s: {self.reason}"


class Refused(ServiceError):
    """The service understood a request and refuses it; asking again would not help."""

    def __init__(self, status: int, request: str, detail: str) -> None:
        super().__init__(status, request, detail)
        self.status = status
        self.request = request
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.request}: the service answers {self.status}: {self.detail}"


class LeaseLost(Refused):
    """The attempt was superseded or has ended; nothing it says counts any more."""


class NotKnown(Refused):
    """The service does not know what the request names."""


class NotWelcome(Refused):
    """The token is missing, wrong or not allowed to do this, or the protocols differ."""


class BadWeights(WorkerError):
    """The weights that a search starts from cannot be loaded into its network."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the weights to start from do not fit the network: {self.reason}"


class NotExportable(WorkerError):
    """A trained network cannot be had as ONNX."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class BadTable(WorkerError):
    """A file is no table of trainings."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} is no table of trainings: {self.reason}"


class NotInTable(WorkerError):
    """A candidate was asked for that the table does not have."""

    def __init__(self, asked: str, known: str) -> None:
        super().__init__(asked, known)
        self.asked = asked
        self.known = known

    def __str__(self) -> str:
        return f"the table has no {self.asked}; it has {self.known}"
