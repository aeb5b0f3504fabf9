"""Learned activation functions of a trial, from the files that its worker stored."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from search_space.contract import SHAPE_HISTORY, SHAPES
from service.errors import Damaged, Fault, Invalid, NotFound, NotReady
from service.results.best_config import choose
from service.schemas.states import FINISHED
from service.schemas.trials import ShapeAnswer, ShapesAnswer
from service.store import trials
from service.store.artifacts import ArtifactStore
from service.store.models import Artifact, Search, Trial

_MOST_BYTES = 32 * 1024**2
"""Many times the size for a network of hundreds of sites."""


def read(
    session: Session, files: ArtifactStore, search: Search, trial_id: str | None, epoch: int | None
) -> ShapesAnswer:
    """Return the curves of a trial, at its end or after an epoch.

    Args:
        trial_id: None means the confirmed winner; before there is one, the best so far.
        epoch: Counted from 1; None means the end.

    Raises:
        NotFound: If the search has no such trial, or the trial ended without storing curves.
        NotReady: If the trial has not ended, or none has completed.
        Invalid: If no curves were stored for this epoch.
        Damaged: If a stored file is not what workers write.
    """
    trial = _trial(session, search, trial_id)
    row = trials.artifact(session, trial.id, SHAPES)
    if row is None and trial.state not in FINISHED:
        raise NotReady("learned curve", f"trial {trial.id} has not ended")
    if row is None:
        raise NotFound("learned curve of trial", trial.id)
    end = _document(files, row)
    history_row = trials.artifact(session, trial.id, SHAPE_HISTORY)
    history = {} if history_row is None else _document(files, history_row)
    try:
        by_epoch = {int(one["epoch"]): one["sites"] for one in history.get("epochs", [])}
        if epoch is not None and epoch not in by_epoch:
            raise Invalid([Fault("epoch", _expected(list(by_epoch)), epoch)])
        sites = end["sites"] if epoch is None else _after(end["sites"], by_epoch[epoch])
        shapes = [ShapeAnswer.model_validate(site) for site in sites]
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # The file comes from a worker, and any worker with a token can store any bytes.
        raise Damaged(row.sha256) from None
    return ShapesAnswer(
        trial=trial.id,
        number=trial.number,
        label=trial.label,
        value=trial.value,
        epoch=epoch,
        epochs=list(by_epoch),
        sites=shapes,
    )


def _trial(session: Session, search: Search, trial_id: str | None) -> Trial:
    if trial_id is not None:
        trial = trials.get(session, trial_id)
        if trial.search_id != search.id:
            raise NotFound(f"trial of search {search.id!r} with the id", trial_id)
        return trial
    best = choose(session, search, unconfirmed=True).trial
    assert best is not None, "the best so far is a trial"
    return best


def _document(files: ArtifactStore, row: Artifact) -> dict[str, Any]:
    if row.size > _MOST_BYTES:
        raise Damaged(row.sha256)
    try:
        found = json.loads(files.read(row.sha256))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Damaged(row.sha256)
    return found


def _after(
    sites: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the sites after an epoch; those without learned parameters as at the end."""
    by_site = {one["site"]: one for one in stored}
    return [
        _earlier(site, by_site[site["site"]]) if site["site"] in by_site else site for site in sites
    ]


def _earlier(end: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of a site from a history, in the form of `shapes.json`."""
    # A history stores the ends of an even grid, and every n-th channel, to stay small.
    curves = then["curves"]
    points = len(curves[0])
    step = (then["right"] - then["left"]) / (points - 1)
    return {
        "site": end["site"],
        "activation": end["activation"],
        "original": end["original"],
        "x": [then["left"] + step * place for place in range(points)],
        "channels": end["channels"][:: -(-len(end["channels"]) // len(curves))],
        "curves": curves,
        "low": None,
        "high": None,
        "density": then["histogram"],
        "knots": then.get("knots"),
        "switches": then.get("switches"),
    }


def _expected(epochs: Sequence[int]) -> str:
    if not epochs:
        return "must be left out: nothing is kept of this trial's epochs"
    return f"must be one of those that are kept: {', '.join(map(str, epochs))}"
