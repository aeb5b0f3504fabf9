"""The importance of each site and each hyperparameter, and how much of it could be chance.

Optuna's PED-ANOVA measures how differently the best tenth of the trials chose a parameter. The
importance of a site is the sum over the parameters of its choice. It is never 0, even where
nothing matters; so the same sum is computed for shuffled values (a permutation test), and what
does not exceed 95 % of those is not statistically significant.
"""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from sqlalchemy.orm import Session

from search_space.space.space import Space
from service.insight.figure import Figure, figure, meta
from service.insight.study import completed, count_completed, make_study
from service.store.documents import space_of
from service.store.models import Search

PERMUTATIONS = 40
LEVEL = 0.95
MIN_TRIALS = 20
"""With fewer, the best tenth is one or two trials."""

_TRAINING = "training/"


def importance(session: Session, search: Search) -> Figure:
    """Draw the share of each site and hyperparameter beside the threshold of chance."""
    rows = completed(session, search) if search.plan is not None else []
    facts = {"trials": len(rows), "of": count_completed(session, search), "least": MIN_TRIALS}
    if len(rows) < MIN_TRIALS:
        return _draw({}, {}, {}, facts)
    space = space_of(search)
    study, rng = make_study(search, rows), np.random.default_rng(0)
    values = np.array([row.value for row in rows], dtype=float)
    found = _evaluate(study, values)
    # One study serves all permutations: `target` supplies the values, so no trial is copied.
    shuffled = [_evaluate(study, rng.permutation(values)) for _ in range(PERMUTATIONS)]
    # Shares of the observed total: the thresholds are on the same scale as the bars.
    total = sum(found.values()) or 1.0
    names = [group.name for group in space.groups] + list(space.hyperparameters)
    shares = {name: found.get(name, 0.0) / total for name in names}
    chance = {
        name: float(np.quantile([one.get(name, 0.0) for one in shuffled], LEVEL)) / total
        for name in names
    }
    return _draw(shares, chance, _sites(space), facts | {"permutations": PERMUTATIONS})


def _evaluate(study: optuna.Study, values: "np.ndarray[Any, Any]") -> Mapping[str, float]:
    """Return the importance of each group of sites and of each hyperparameter."""
    # It imports scikit-learn, which takes a second, and no other figure needs it.
    from optuna.importance import PedAnovaImportanceEvaluator

    sign = -1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1.0
    with warnings.catch_warnings():
        # It warns that it takes lower values for better, so we negate where higher ones are, and
        # of parameters that few trials have.
        warnings.simplefilter("ignore")
        found = PedAnovaImportanceEvaluator().evaluate(
            study, target=lambda trial: sign * float(values[trial.number])
        )
    sums: defaultdict[str, float] = defaultdict(float)
    for parameter, value in found.items():
        sums[_owner(parameter)] += value
    return sums


def _owner(parameter: str) -> str:
    """Return the group of sites, or the hyperparameter, that a parameter belongs to."""
    if parameter.startswith(_TRAINING):
        return parameter.removeprefix(_TRAINING)
    return parameter.partition("/")[0]


def _sites(space: Space) -> Mapping[str, Sequence[str]]:
    return {group.name: [site.id for site in group.sites] for group in space.groups}


def _draw(
    shares: Mapping[str, float],
    chance: Mapping[str, float],
    sites: Mapping[str, Sequence[str]],
    facts: Mapping[str, Any],
) -> Figure:
    significant = {name: share for name, share in shares.items() if share > chance[name]}
    others = {name: share for name, share in shares.items() if name not in significant}
    return figure(
        [
            _bars("told from chance", significant, color="#0b6296"),
            _bars("could be chance", others, color="#9aa3a8"),
            {
                "type": "scatter",
                "mode": "markers",
                "name": "what chance reaches, 95 %",
                "x": list(chance.values()),
                "y": list(chance),
                "marker": {"symbol": "line-ns-open", "size": 14, "color": "#a84f08"},
            },
        ],
        x="share of the importance",
        y="",
        barmode="overlay",
        yaxis={"categoryorder": "array", "categoryarray": list(reversed(list(shares)))},
        **meta(sites=sites, **facts),
    )


def _bars(name: str, shares: Mapping[str, float], *, color: str) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": list(shares.values()),
        "y": list(shares),
        "marker": {"color": color},
    }
