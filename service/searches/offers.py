"""Checks a search against the tasks that workers offer."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from sqlalchemy.orm import Session

from search_space.contract import TaskOffer
from search_space.errors import SearchSpaceError
from search_space.search import SearchSpec
from search_space.search_sections import RATIOS
from search_space.space.space import make_space
from service.errors import Fault, Invalid
from service.store import searches
from service.study.samplers import pinned_arguments


def check_against_offers(
    session: Session, document: SearchSpec, offers: Sequence[TaskOffer]
) -> None:
    """Check a search against what workers offer, if any has registered.

    Raises:
        Invalid: If no offer of the task fits, or the search does not fit a known plan.
    """
    if not offers:
        return
    of_task = [offer for offer in offers if offer.name == document.task.name]
    if not of_task:
        known = sorted({offer.name for offer in offers})
        raise Invalid([_unknown("task.name", document.task.name, known)])
    faults = [
        [*_settings_faults(document, offer), *_metric_faults(document, offer)] for offer in of_task
    ]
    # Workers may offer different versions of the task: one that fits is enough.
    if all(faults):
        raise Invalid(faults[0])
    plan = searches.known_plan(session, document.task.model_dump(mode="json"))
    if plan is not None:
        try:
            make_space(document, plan)
        except SearchSpaceError as error:
            raise Invalid([Fault(getattr(error, "field", "choices"), str(error))]) from None


def pin(document: SearchSpec, offers: Sequence[TaskOffer]) -> dict[str, Any]:
    """Return every argument of a search's sampler and pruner, including the defaults."""
    has_phases = any(choice.entry.phases for choice in document.offered)
    epochs = epochs_of(document, offers)
    return pinned_arguments(document, has_phases=has_phases, epochs=epochs)


def epochs_of(document: SearchSpec, offers: Sequence[TaskOffer]) -> int | None:
    """Return how many epochs a trial has, or None if that is not known."""
    given = document.task.settings.get("epochs")
    for offer in offers:
        if given is None and offer.name == document.task.name:
            given = offer.settings.get("properties", {}).get("epochs", {}).get("default")
    return given if isinstance(given, int) else None


def _settings_faults(document: SearchSpec, offer: TaskOffer) -> list[Fault]:
    validator = Draft202012Validator(offer.settings)
    return [_fault_of(error) for error in validator.iter_errors(document.task.settings)]


def _fault_of(error: ValidationError) -> Fault:
    field = ".".join(["task", *(str(part) for part in error.absolute_path)])
    given: Any = error.instance
    rule: Any = error.validator_value
    schema: Any = error.schema
    properties = schema.get("properties", {})
    if error.validator == "additionalProperties":
        extra = next(name for name in given if name not in properties)
        return _unknown(f"{field}.{extra}", extra, list(properties))
    if error.validator == "required":
        missing = next(name for name in rule if name not in given)
        allowed = properties.get(missing, {}).get("enum")
        hint = f"; one of {', '.join(map(str, allowed))}" if allowed else ""
        return Fault(f"{field}.{missing}", f"is required{hint}")
    if error.validator == "enum":
        return _unknown(field, given, [str(value) for value in rule])
    return Fault(field, error.message, given)


def _metric_faults(document: SearchSpec, offer: TaskOffer) -> list[Fault]:
    several = len(document.objectives) > 1
    faults = []
    for place, objective in enumerate(document.objectives):
        field = f"objective.{place}" if several else "objective"
        metric, direction = objective.metric, objective.direction
        if objective.is_ratio:
            continue
        if metric not in offer.metrics:
            faults.append(_unknown(f"{field}.metric", metric, [*offer.metrics, *RATIOS]))
        elif offer.metrics[metric] != direction:
            message = f"{metric} is to {offer.metrics[metric]}, got {direction!r}"
            faults.append(Fault(f"{field}.direction", message, direction))
    return faults


def _unknown(field: str, given: Any, known: Sequence[str]) -> Fault:
    near = get_close_matches(str(given), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return Fault(field, f"{given!r} is unknown; there are {', '.join(known)}{hint}", given)
