"""Parallel coordinates: one line for each trial, through its choices and its value.

Optuna draws a trace for each trial, which is slow with hundreds of them. This is a single trace
of Plotly's type `parcoords`, with the sites in the order of the network.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from search_space.search import metric_in
from service.insight.figure import Figure, downsample, meta
from service.insight.study import completed
from service.results.objectives import maximizes
from service.schemas.labels import metric_label
from service.store.documents import space_of
from service.store.models import Search, Trial

_LINES = 400


def parallel_coordinates(session: Session, search: Search) -> Figure:
    """Draw the choices of trials at each group of sites, their hyperparameters and values."""
    rows = downsample(completed(session, search), _LINES) if search.plan is not None else []
    if not rows:
        return {"data": [], "layout": {}}
    space = space_of(search)
    names = [group.name for group in space.groups]
    names += [f"training/{name}" for name in space.hyperparameters]
    metric = metric_in(search.document)
    values = [row.value for row in rows]
    return {
        "data": [
            {
                "type": "parcoords",
                "dimensions": [
                    *(one for name in names if (one := _dimension(name, rows))),
                    {"label": metric_label(metric), "values": values},
                ],
                "line": {
                    "color": values,
                    "colorscale": "Cividis",
                    "reversescale": not maximizes(search),
                },
            }
        ],
        "layout": {**meta(numbers=[row.number for row in rows])},
    }


def _dimension(name: str, rows: Sequence[Trial]) -> Figure | None:
    """Return an axis; None for a parameter that some trial lacks, or that never varies."""
    given: list[Any] = [(row.params or {}).get(name) for row in rows]
    if None in given or len(set(given)) < 2:
        return None
    label = metric_label(name.removeprefix("training/"))
    if all(isinstance(one, float) for one in given) and len(set(given)) > 10:
        return {"label": label, "values": given}
    choices = sorted(set(given), key=lambda one: (isinstance(one, str), one))
    return {
        "label": label,
        "values": [choices.index(one) for one in given],
        "tickvals": list(range(len(choices))),
        "ticktext": [str(one) for one in choices],
    }
