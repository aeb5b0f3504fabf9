"""Every plot by its name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.insight.figure import Figure
from service.insight.heat_map import heat_map
from service.insight.history import history
from service.insight.importance import importance
from service.insight.intermediate_values import intermediate_values
from service.insight.parallel_coordinates import parallel_coordinates
from service.insight.pareto import pareto
from service.insight.rungs import rungs
from service.insight.timeline import timeline
from service.store.models import Search


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure of a search.

    Attributes:
        is_heavy: Whether drawing it may take seconds; a separate process does it then.
    """

    description: str
    draw: Callable[[Session, Search], Figure]
    is_heavy: bool = False


PLOTS: Mapping[str, Plot] = {
    "history": Plot("values in the order of the trials, the best so far, the luck line", history),
    "intermediate": Plot(
        "values during training, of the leaders and of others", intermediate_values
    ),
    "importance": Plot(
        "how much each site and hyperparameter matters, beside what chance would show",
        importance,
        is_heavy=True,
    ),
    "heat": Plot(
        "mean value by site and choice, with counts and intervals", heat_map, is_heavy=True
    ),
    "parallel": Plot(
        "what each trial chose and what came of it", parallel_coordinates, is_heavy=True
    ),
    "pareto": Plot("networks that none beats in both value and time", pareto),
    "timeline": Plot("what every slot of every worker did, and when", timeline),
    "rungs": Plot("how many trials were still training after how many epochs", rungs),
}
