"""The parts of a paper: a methods paragraph with every count, and a table."""

from collections.abc import Iterable, Mapping

from search_space.contract import TrialKind
from search_space.search import weights_in
from service.bundle.material import Material
from service.bundle.numbers import gain, interval, one, spread
from service.bundle.references import keys
from service.confirmation import WINNER
from service.store.models import TrialState

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
    failed = ", ".join(f"{count} {name}" for name, count in counts.failures.items())
    yield (
        f"{counts.of(kind)} candidates were trained, {counts.of(kind, TrialState.COMPLETED)} to "
        f"the end, {counts.of(kind, TrialState.STOPPED)} stopped early, "
        f"{counts.of(kind, TrialState.FAILED)} failed; {counts.repeats} further proposals "
        f"repeated one of them and were not trained. Beside them stood "
        f"{counts.of(TrialKind.BASELINE)} baselines, among them the original network on "
        f"{len(material.best.original.values)} seeds."
    )
    yield f"Attempts that failed, by class: {failed}." if failed else "No attempt failed."
    yield (
        f"The search ran for {material.hours.running:.1f} hours and used {material.hours.gpu:.1f} "
        "GPU hours."
    )


def _confirmed(material: Material) -> Iterable[str]:
    counts = material.counts
    if not material.samples:
        yield "The result has not been confirmed; the test data was not looked at."
        return
    seeds = len(material.samples[WINNER].values) if WINNER in material.samples else 0
    yield (
        f"The best candidates were trained once more to choose one winner by validation data; "
        f"the winner and what it is compared with were then trained on {seeds} fresh seeds, a "
        f"number that was fixed beforehand ({counts.of(TrialKind.CONFIRMATION)} trainings), and "
        f"evaluated on test data, which was used {counts.test_looks} times, in these trainings "
        "alone."
    )
    yield (
        f"Result: {material.best.claim}. Intervals are Welch's, of 95 %; claims are corrected "
        "after Holm."
    )


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
