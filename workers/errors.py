"""Errors of a worker. Each carries its facts as fields and builds its message from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar


class WorkerError(Exception):
    """Base of every error this package raises on purpose. A subclass is a dataclass of facts.

    Attributes:
        template: The message, with the names of fields in braces.
    """

    template: ClassVar[str]

    def __post_init__(self) -> None:
        # `pickle` builds an error again from its `args`; Ray pickles the errors of its tasks.
        super().__init__(*vars(self).values())

    def __str__(self) -> str:
        return self.template.format_map(vars(self))


@dataclass(eq=False)
class _FileError(WorkerError):
    path: Path
    reason: str

    template = "{path}: {reason}"


@dataclass(eq=False)
class _ReasonError(WorkerError):
    reason: str

    template = "{reason}"


@dataclass(eq=False)
class Diverged(WorkerError):
    """Training produced a number that is not finite."""

    epoch: int
    metric: str
    value: float
    where: str | None = None

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"diverged: {self.metric} is {self.value} after epoch {self.epoch}{place}"


@dataclass(eq=False)
class DataMissing(WorkerError):
    """The files of a data set are not where this worker looks for them."""

    dataset: str
    looked_for: Sequence[Path]

    def __str__(self) -> str:
        paths = ", ".join(str(path) for path in self.looked_for)
        return (
            f"{self.dataset} was not found; looked for {paths}; "
            "set --data-root (or ACTSEARCH_DATA_ROOT) to the folder that holds it"
        )


class BadData(_FileError):
    """A file of a data set exists, but its content is not that of the data set."""


@dataclass(eq=False)
class TooFewSamples(WorkerError):
    """More training samples were requested than the training split has."""

    asked: int
    available: int

    template = "train_samples: the training split has {available}, not {asked}"


@dataclass(eq=False)
class UnknownNetwork(WorkerError, LookupError):
    """A source of networks has no network of that name."""

    source: str
    name: str
    known: Sequence[str]

    def __str__(self) -> str:
        near = get_close_matches(self.name, self.known, n=5) or self.known[:5]
        return f"{self.source} has no network {self.name!r}; it has {', '.join(near)} and others"


@dataclass(eq=False)
class NetworkChanged(WorkerError):
    """The sites found now differ from those that the candidate was made for."""

    expected: str | None
    found: str
    sites: Sequence[str]

    def __str__(self) -> str:
        return (
            "the network is not the one this search was planned for: its sites are now "
            f"{', '.join(self.sites) or 'none'} (fingerprint {self.found}, planned "
            f"{self.expected}); submit the changed network as a new search"
        )


@dataclass(eq=False)
class UnreadableCheckpoint(WorkerError):
    """A checkpoint has a version that this worker cannot read."""

    version: str | None
    known: str

    template = "the checkpoint has version {version!r}; this worker reads {known!r}"


@dataclass(eq=False)
class NotCheckpointable(WorkerError):
    """A state to be saved holds an object that a checkpoint cannot store safely."""

    where: str
    kind: str

    template = "{where}: a checkpoint holds tensors, numbers, text, lists and dicts, not a {kind}"


@dataclass(eq=False)
class BadArtifact(WorkerError):
    """A download does not match its digest."""

    name: str
    expected: str
    found: str

    template = "{name}: sha256 is {found}, expected {expected}"


class NoDiskSpace(_FileError):
    """A file could not be written."""

    template = "cannot write {path}: {reason}"


@dataclass(eq=False)
class NoGpuMemory(WorkerError):
    """Another program uses the GPU memory that a trial's share needs. Amounts in GiB."""

    gpu: str
    free: float
    wanted: float

    template = (
        "{gpu}: {free:.2f} GiB are free, less than {wanted:.2f} GiB, half of a "
        "trial's share; `nvidia-smi` lists what else runs there"
    )


class MisusedHandle(_ReasonError):
    """A training script called the handle in an order that cannot work."""


class NotMeasurable(_ReasonError):
    """A network cannot be measured in the form that a search requests."""

    template = "cannot be measured: {reason}"


@dataclass(eq=False)
class NotRepeatable(WorkerError):
    """A trial cannot be trained again on this machine."""

    trial: str
    reason: str

    template = "trial {trial} cannot be trained again: {reason}"


@dataclass(eq=False)
class CannotRetrain(WorkerError):
    """An input of a retraining cannot be used."""

    what: str
    reason: str

    template = "{what}: {reason}"


class BadTaskFile(_FileError):
    """A file of tasks is not valid."""


@dataclass(eq=False)
class BadSetting(WorkerError):
    """An option of a worker's command has a value that is not valid."""

    setting: str
    given: str
    expected: str

    template = "{setting}: expected {expected}, got {given!r}"


class ServiceError(WorkerError):
    """Base of the errors in the communication with the service."""


@dataclass(eq=False)
class ServiceAway(ServiceError):
    """The service did not answer within the time that the caller allows."""

    url: str
    seconds: float
    reason: str

    template = "{url} has not answered for {seconds:.0f} s: {reason}"


@dataclass(eq=False)
class Refused(ServiceError):
    """The service understood a request and refuses it; repeating it would not help."""

    status: int
    request: str
    detail: str

    template = "{request}: the service answers {status}: {detail}"


class LeaseLost(Refused):
    """The attempt was superseded or has ended; the service ignores what it sends."""


class NotKnown(Refused):
    """The service does not know what the request names."""


class NotWelcome(Refused):
    """The token is missing, wrong or has no right to do this, or the protocols differ."""


class BadWeights(_ReasonError):
    """The start weights of a search cannot be loaded into its network."""

    template = "the weights to start from do not fit the network: {reason}"


class NotExportable(_ReasonError):
    """A trained network cannot be exported as ONNX."""


class BadTable(_FileError):
    """A file is not a table of trainings."""

    template = "{path} is no table of trainings: {reason}"


@dataclass(eq=False)
class NotInTable(WorkerError):
    """The table has no training of the candidate that was requested."""

    asked: str
    known: str

    template = "the table has no {asked}; it has {known}"
