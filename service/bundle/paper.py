"""The parts of a paper: a methods paragraph with every count, and a table."""

from collections.abc import Iterable, Mapping

from search_space.contract import TrialKind
from search_space.search import weights_in
from service.bundle.material import INFEASIBLE, REPLICATE, Material
from service.bundle.numbers import gain, interval, one, spread
from service.bundle.references import keys
from service.results.confirmation import SHORTLIST, SPREAD
from service.schemas.states import UNFINISHED, TrialState

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


def methods(material: Material) -> str:
    """Return the paragraph, in LaTeX."""
    cited = ",".join(keys(material.activations))
    sentences = [*_searched(material), *_counted(material), *_confirmed(material)]
    text = latex(" ".join(sentences))
    return text + (f" Activations used: \\cite{{{cited}}}.\n" if cited else "\n")


def table(material: Material) -> str:
    """Return a LaTeX table: of the confirmation if there was one, else of the ranking."""
    rows = list(_confirmation_rows(material) if material.samples else _ranking_rows(material))
    head, *body = ([latex(cell) for cell in row] for row in rows)
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}",
        r"\hline",
        " & ".join(head) + r" \\",
        r"\hline",
        *(" & ".join(row) + r" \\" for row in body),
        r"\hline",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    """Return a text with what LaTeX takes for commands written so that it does not."""
    return text.translate(_LATEX)


def _searched(material: Material) -> Iterable[str]:
    document, task = material.document, material.document["task"]
    choices = (choice["name"] for choice in document["choices"])
    versions: Mapping[str, str] = material.config.provenance["versions"]
    details = ", ".join(f"{name} {value}" for name, value in task.items() if name != "name")
    yield (
        f"The activation function at each of the {len(material.config.plan.sites)} sites of the "
        f"network (task {task['name']}: {details}) was searched with Activation Search "
        f"{versions['activation-search']} on Optuna {versions['optuna']}, offering "
        f"{', '.join(choices)}."
    )
    yield (
        f"The sampler was {_named(material.pinned['sampler'])}, the pruner "
        f"{_named(material.pinned['pruner'])}; choices were made on validation data alone, by "
        f"{material.metric}."
    )
    if weights_in(document) is not None:
        yield "Every training fine-tuned the same given weights of the original network."


def _counted(material: Material) -> Iterable[str]:
    counts, kind = material.counts, TrialKind.PROPOSED
    yield (
        f"{_were(counts.trained(kind), 'candidate')} trained, "
        f"{counts.of(kind, TrialState.COMPLETED)} to the end, "
        f"{counts.of(kind, TrialState.STOPPED)} stopped early, "
        f"{counts.of(kind, TrialState.FAILED)} failed; {counts.repeats} further proposals "
        "repeated one of them and were not trained."
    )
    if beyond := counts.of(kind, INFEASIBLE):
        yield f"{_many(beyond, 'further candidate')} could not be trained within the limits."
    if cancelled := counts.of(kind, TrialState.CANCELLED):
        yield f"{_were(cancelled, 'further candidate')} cancelled."
    if unfinished := counts.of(kind, *UNFINISHED):
        yield f"{_many(unfinished, 'further candidate')} had not ended when this was written."
    if again := counts.trained(REPLICATE):
        yield f"The leaders were trained again on other seeds ({_many(again, 'training')})."
    if by_hand := counts.trained(TrialKind.MANUAL):
        yield f"{_were(by_hand, 'candidate')} added by hand and trained."
    if earlier := counts.trained(TrialKind.EARLIER):
        yield f"{_were(earlier, 'result')} taken from an earlier search."
    yield (
        f"Beside them stood {counts.trained(TrialKind.BASELINE)} baselines, among them the "
        f"original network on {len(material.best.original.values)} seeds."
    )
    failed = ", ".join(f"{count} {name}" for name, count in counts.failures.items())
    yield f"Attempts that failed, by class: {failed}." if failed else "No attempt failed."
    yield (
        f"The search ran for {material.hours.running:.1f} hours and used {material.hours.gpu:.1f} "
        "GPU hours."
    )


def _confirmed(material: Material) -> Iterable[str]:
    counts = material.counts
    if not material.samples:
        yield "The result has not been confirmed" + _looked(counts.test_looks)
        return
    choosing = {label: counts.confirming.get(label, 0) for label in (SHORTLIST, SPREAD)}
    trainings = sum(counts.confirming.values()) - sum(choosing.values())
    if choosing[SHORTLIST]:
        yield (
            f"The {choosing[SHORTLIST]} best candidates were trained once more to choose one "
            "winner by validation data."
        )
    else:
        yield "The best candidate by validation data is the winner."
    if choosing[SPREAD]:
        yield (
            f"{_were(choosing[SPREAD], 'candidate')} trained at the length of the confirmation "
            "to see whether both lengths rank alike."
        )
    earlier = " and those of an earlier confirmation" if material.best.looks > 1 else ""
    yield (
        "The winner and what it is compared with were then trained, each on "
        f"{material.document['confirm']['seeds']} fresh seeds, a number that was fixed beforehand "
        f"({_many(trainings, 'training')}), and evaluated on test data, which was used "
        f"{_times(counts.test_looks)}, in these trainings{earlier} alone."
    )
    if diverged := trainings - sum(len(sample.values) for sample in material.samples.values()):
        yield f"{_many(diverged, 'training')} of these did not come to the end."
    yield (
        f"Result: {material.best.claim}. Intervals are Welch's, of 95 %; claims are corrected "
        "after Holm."
    )


def _looked(test_looks: int) -> str:
    """Say how often test data was looked at, of a result that is not confirmed."""
    if not test_looks:
        return "; the test data was not looked at."
    return (
        f". The test data was used {_times(test_looks)}, in trainings of a confirmation that has "
        "not ended or was left."
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _were(count: int, noun: str) -> str:
    return f"{_many(count, noun)} {'was' if count == 1 else 'were'}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _confirmation_rows(material: Material) -> Iterable[tuple[str, ...]]:
    metric = material.test_metric
    yield "network", f"{metric}", "seeds", "winner's gain"
    gains = {found.against: interval(found, metric) for found in material.best.comparisons}
    for sample in material.samples.values():
        seeds = str(len(sample.values))
        yield sample.label, spread(sample, metric), seeds, gains.get(sample.label, "-")


def _ranking_rows(material: Material) -> Iterable[tuple[str, ...]]:
    metric = material.metric
    yield "trial", f"{metric}", "seeds", "gain"
    original = material.best.original
    yield "original", one(original.mean, metric), str(len(original.values)), "-"
    for row in material.best.ranking[:10]:
        label = row.label or f"trial {row.number}"
        yield label, one(row.value, metric), str(row.seeds), gain(row.gain, metric)


def _named(pinned: Mapping[str, object]) -> str:
    """Write a sampler or pruner with all its arguments."""
    rest = ", ".join(f"{name} {value}" for name, value in pinned.items() if name != "name")
    return f"{pinned['name']} ({rest})" if rest else str(pinned["name"])
