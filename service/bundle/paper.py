"""The parts of a paper: a methods paragraph with every count, and a table, in LaTeX."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.contract import TrialKind
from search_space.search import weights_in
from service.bundle.data import INFEASIBLE, REPLICATE, BundleData
from service.bundle.references import citation_keys
from service.bundle.rows import Row, gain_text, ranking_rows
from service.results.confirmation import SHORTLIST, SPREAD
from service.schemas.labels import mean_text
from service.schemas.states import UNFINISHED, TrialState
from service.templating import environment

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"
_RANKED = 10

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
    }
)


class Latex(str):
    """Text that is LaTeX already."""

    __slots__ = ()


def methods(data: BundleData) -> str:
    """Return the paragraph."""
    document = data.document
    text = (
        _latex_environment()
        .get_template("methods.tex.j2")
        .render(
            data=data,
            plan=data.config.plan,
            versions=data.config.provenance["versions"],
            task=document["task"],
            details=_arguments(document["task"]),
            choices=", ".join(choice["name"] for choice in document["choices"]),
            sampler=_with_arguments(data.pinned["sampler"]),
            pruner=_with_arguments(data.pinned["pruner"]),
            fine_tunes=weights_in(document) is not None,
            # Keys of references are no text: LaTeX takes their underscores as they are.
            citations=Latex(",".join(citation_keys(data.activations))),
            many=_many,
            were=_were,
            times=_times,
            **_counted(data),
        )
    )
    return " ".join(text.split()) + "\n"


def table(data: BundleData) -> str:
    """Return a table of the confirmation if there was one, else of the ranking."""
    rows = list(_confirmation_rows(data) if data.samples else _ranking_rows(data))
    return _latex_environment().get_template("table.tex.j2").render(rows=rows)


def latex(value: object) -> str:
    """Write a value so that LaTeX takes none of it for a command."""
    return value if isinstance(value, Latex) else str(value).translate(_LATEX)


@lru_cache(maxsize=1)
def _latex_environment() -> "Environment":
    # Braces and percent signs are LaTeX's own.
    return environment(
        _TEMPLATES,
        finalize=latex,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )


def _counted(data: BundleData) -> Mapping[str, Any]:
    counts = data.counts
    shortlisted, spread = (counts.confirming.get(label, 0) for label in (SHORTLIST, SPREAD))
    confirmed = sum(counts.confirming.values()) - shortlisted - spread
    return {
        "counts": counts,
        "infeasible": counts.count(TrialKind.PROPOSED, INFEASIBLE),
        "cancelled": counts.count(TrialKind.PROPOSED, TrialState.CANCELLED),
        "unfinished": counts.count(TrialKind.PROPOSED, *UNFINISHED),
        "replicates": counts.trained(REPLICATE),
        "failures": ", ".join(f"{count} {name}" for name, count in counts.failures.items()),
        "shortlisted": shortlisted,
        "spread": spread,
        "confirmed": confirmed,
        "unended": confirmed - sum(len(sample.values) for sample in data.samples.values()),
    }


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _were(count: int, noun: str) -> str:
    return f"{_many(count, noun)} {'was' if count == 1 else 'were'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _confirmation_rows(data: BundleData) -> Iterator[Row]:
    metric = data.test_metric
    yield "network", metric, "seeds", "winner's gain"
    gains = {found.against: gain_text(data, found) for found in data.best.comparisons}
    for sample in data.samples.values():
        seeds = str(len(sample.values))
        yield sample.label, mean_text(metric, sample.values), seeds, gains.get(sample.label, "-")


def _ranking_rows(data: BundleData) -> Iterator[Row]:
    yield "trial", data.metric, "seeds", "gain"
    yield from ranking_rows(data, _RANKED)


def _with_arguments(pinned: Mapping[str, object]) -> str:
    """Write a sampler or pruner with all its arguments."""
    rest = _arguments(pinned)
    return f"{pinned['name']} ({rest})" if rest else str(pinned["name"])


def _arguments(named: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in named.items() if name != "name")
