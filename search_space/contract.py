"""What a worker and the service say to each other.

Wire messages ignore keys they do not know, so that either side may be the newer one; a lease
request names the range of protocols its worker speaks.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from search_space.spec import ActivationConfig, Candidate, SitePlan

PROTOCOL = 1
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
SHAPES = "shapes.json"
SHAPE_HISTORY = "shapes-history.json"
RUN = "run.json"
ONNX = "model.onnx"
START = "start.safetensors"
NO_ONNX = f"no {ONNX}: "
"""Begins the remark on a trial that says why it has none though it was asked for."""

MOST = 2**31 - 1
"""The largest of the numbers that become columns of the store."""

Seconds = Annotated[float, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class TrialKind(StrEnum):
    INSPECTION = "inspection"
    BASELINE = "baseline"
    PROPOSED = "proposed"
    MANUAL = "manual"
    CONFIRMATION = "confirmation"
    EARLIER = "earlier"


class OutcomeKind(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    STOPPED = "stopped"
    RELEASED = "released"
    FAILED = "failed"


class FailureClass(StrEnum):
    """Why an attempt failed; each class has its own rule of retrying."""

    LOST = "lost"
    PREEMPTED = "preempted"
    ENVIRONMENT = "environment"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    INFEASIBLE = "infeasible"
    TIMEOUT = "timeout"
    USER_ERROR = "user_error"


class Verdict(StrEnum):
    """The answer to a report.

    `stop`: pruned, end as stopped. `release`: checkpoint and hand the trial back.
    `cancel`: end at once, nothing more is wanted.
    """

    CONTINUE = "continue"
    STOP = "stop"
    RELEASE = "release"
    CANCEL = "cancel"


class Message(BaseModel):
    """Base of everything on the wire: immutable, lenient about unknown keys, finite numbers."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class TaskOffer(Message):
    """A task that a worker can run.

    Attributes:
        settings: JSON Schema of the settings beside `name`, with their defaults.
        metrics: Direction of each metric it reports.
        recipes: Optimizer, rates and schedule per network, for people to read.
        code: What differs where the task's code does; None: not known.
    """

    name: Name
    description: str = ""
    settings: dict[str, Any]
    metrics: dict[str, Literal["maximize", "minimize"]]
    recipes: dict[str, Any] = {}
    code: Annotated[str, Field(max_length=200)] | None = None


class WorkerManifest(Message):
    """What a worker is and offers, told once at its start (`PUT /v1/workers/{id}`).

    Attributes:
        gpus_per_slot: GPUs of one slot, by which GPU hours are counted; None: the devices that
            are no CPU, divided by the slots.
        resting: Why it takes no more work, once it does not; the manifest is told again then.
    """

    boot_id: Name
    slots: Annotated[int, Field(ge=1, le=1024)]
    devices: list[str]
    versions: dict[str, str]
    tasks: list[TaskOffer]
    activations: list[str]
    gpus_per_slot: Annotated[float, Field(ge=0, le=1024, strict=True)] | None = None
    resting: Annotated[str, Field(max_length=2000)] | None = None


class WorkerWelcome(Message):
    """The answer to a manifest."""

    lease_seconds: Seconds


class Heartbeat(Message):
    """A worker's life sign: it renews every lease that it names.

    `waiting` are those of them whose trials wait for a place to run: their time has not begun.
    """

    boot_id: Name
    leases: list[str]
    waiting: list[str] = []


class HeartbeatReply(Message):
    """What each named lease should do now. `cancel` also stands for a lease that was lost."""

    leases: dict[str, Literal[Verdict.CONTINUE, Verdict.CANCEL]]


class LeaseRequest(Message):
    """A slot asks for work. The same (boot_id, slot, request) always gets the same attempt."""

    worker: Name
    boot_id: Name
    slot: Annotated[int, Field(ge=0, le=MOST)]
    request: Annotated[int, Field(ge=0, le=MOST)]
    protocol_min: int = PROTOCOL
    protocol_max: int = PROTOCOL
    wait_seconds: Annotated[float, Field(ge=0, le=30)] = 20


class Checkpoint(Message):
    """Where an earlier attempt stopped. `GET /v1/trials/{trial}/artifacts/{name}` has it."""

    name: Name
    sha256: str


class Form(Message):
    """How a candidate was measured; ratios of different forms must not be compared.

    Attributes:
        batch: Samples in a batch.
        dtype: That of the arithmetic: `float32`, or a reduced one under autocast.
        folded: Batch normalisation was folded into the convolutions before it.
        fused: Activations were computed by their fused kernels, where they have one.
        device: Its name, for people and for comparison.
        threads: Of a CPU; 0 on any other device.
    """

    batch: Annotated[int, Field(ge=1)]
    dtype: Name = "float32"
    compiled: bool = False
    folded: bool = False
    fused: bool = False
    device: Name
    threads: Annotated[int, Field(ge=0)] = 0


class Ratio(Message):
    """A quantity of the candidate over that of the original network on the same device.

    Attributes:
        value: The median, where it was measured more than once.
        low: Of the 95 % interval of the median; `value` where the quantity is exact.
    """

    value: NonNegative
    low: NonNegative
    high: NonNegative


class Measurements(Message):
    """What a candidate costs, known before its first epoch.

    Attributes:
        parameters: Learned numbers of the whole network.
        flops: Of the forward pass of one sample; a multiplication with its addition counts 2,
            activations by their entries of the catalogue.
        ratios: By name: `parameter_ratio`, `flop_ratio`, and where it was asked for
            `latency_ratio` and `memory_ratio`.
        latency_seconds: Of the forward pass of one batch, median.
        memory_bytes: Peak of a training step: weights, gradients, and what the forward and the
            backward pass keep; not the optimizer's own state.
        loss_before_swap: On validation data, of the trained weights that a trial starts from.
        loss_after_swap: The same weights' with the candidate's activations, before training.
    """

    form: Form
    parameters: Annotated[int, Field(ge=0)]
    flops: Annotated[int, Field(ge=0)]
    ratios: dict[Name, Ratio] = Field(max_length=20)
    latency_seconds: Seconds | None = None
    memory_bytes: Annotated[int, Field(ge=0)] | None = None
    loss_before_swap: float | None = None
    loss_after_swap: float | None = None


class MeasurementsReply(Message):
    """The answer to measurements: go on, or the trial has ended for the reason given."""

    verdict: Literal["continue", "infeasible"]
    reason: str | None = None


class Measuring(Message):
    """What shall be measured of a trial beside parameters and FLOPs, and in which form.

    Attributes:
        batch: Samples in a batch; None: as many as the example batch has.
    """

    latency: bool = False
    memory: bool = False
    batch: Annotated[int, Field(ge=1)] | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    compiled: bool = False
    folded: bool = False


class Assignment(Message):
    """The right to run one attempt at a trial, and all that is needed to run it.

    Attributes:
        lease: Id of the attempt; every later word names it.
        token: Bearer token that is valid for this attempt only.
        task: The search's task: `name` and its settings.
        candidate: None for an inspection.
        fingerprint: That of the plan the candidate was made for; None for an inspection.
        seed: Everything random in the trial derives from it.
        checkpoint: Resume from it, where there is one.
        measuring: What shall be measured before the first epoch; None for an inspection.
        measured: What earlier trials of the same candidate have measured, on any device.
        micro_batches: Parts in which a batch is computed, their gradients added: more than 1
            after a lack of memory.
        start: The sha256 of the weights to load before activations are put in;
            `GET /v1/trials/{trial}/start` has them. None: train from scratch.
        export: Store the trained network as ONNX too, where that can be done.
    """

    lease: str
    token: str
    search: str
    trial: str
    number: int | None
    kind: TrialKind
    attempt: int
    lease_seconds: Seconds
    task: dict[str, Any]
    metric: str
    candidate: Candidate | None
    fingerprint: str | None
    seed: int
    checkpoint: Checkpoint | None = None
    measuring: Measuring | None = None
    measured: list[Measurements] = []
    micro_batches: int = 1
    export: bool = False
    start: str | None = None


class LeaseFile(Message):
    """What the file named by `ACTSEARCH_LEASE_FILE` tells a trial process.

    `directory` is the trial's own on this worker; None: beside the file. `code` tells the code of
    its task. Checkpoints are uploaded at most every `checkpoint_seconds`.
    """

    url: str
    assignment: Assignment
    directory: str | None = None
    code: str | None = None
    checkpoint_seconds: Seconds = 30


class Report(Message):
    """The metrics after `step` epochs (from 1).

    `step_seconds` is the mean time of one optimizer step in this epoch.
    """

    step: Annotated[int, Field(ge=1, le=MOST)]
    metrics: dict[Name, float] = Field(min_length=1, max_length=100)
    step_seconds: Seconds | None = None


class Reports(Message):
    """A batch of reports; repeating one is harmless."""

    reports: list[Report] = Field(min_length=1, max_length=1000)


class ReportsReply(Message):
    """The verdict on the last report of the batch."""

    verdict: Verdict


class Outcome(Message):
    """The last word on an attempt.

    Attributes:
        failure: Its class, when and only when it failed.
        message: For people: what happened.
        plan: What an inspection found.
        test: Metrics on test data, of a confirmation alone.
    """

    outcome: OutcomeKind
    failure: FailureClass | None = None
    message: Annotated[str, Field(max_length=20_000)] = ""
    plan: SitePlan | None = None
    test: dict[Name, float] = {}


class LogReply(Message):
    """How much of an attempt's output the service has: the next piece begins at byte `next`."""

    next: Annotated[int, Field(ge=0)]


class Stored(Message):
    """An artifact, as the service keeps it."""

    name: str
    sha256: str
    size: int


def test_metric(metric: str) -> str:
    """Return what a metric on validation data is called on test data."""
    return f"test_{metric.removeprefix('validation_')}"


def is_fraction(metric: str) -> bool:
    """Whether people read a metric in percent, and its differences in points: a share of hits.

    Every other metric is a plain number, in a unit of its own.
    """
    return metric.endswith(("accuracy", "iou"))


def read_plan(data: Any) -> SitePlan:
    """Read a site plan from plain JSON data."""
    return _PLAN.validate_python(data)


def read_candidate(data: Any) -> Candidate:
    """Read a candidate from plain JSON data."""
    return _CANDIDATE.validate_python(data)


def read_config(data: Any) -> ActivationConfig:
    """Read a downloaded activation config from plain JSON data."""
    return _CONFIG.validate_python(data)


_PLAN = TypeAdapter(SitePlan)
_CANDIDATE = TypeAdapter(Candidate)
_CONFIG = TypeAdapter(ActivationConfig)
