"""Learned piecewise linear functions."""

from search_space.catalog.entry import Entry, Parameter
from search_space.catalog.scalar import STARTS

_PARAMETERS = (
    Parameter("segments", 16, 2, 64, "number N of intervals"),
    Parameter(
        "bounds",
        None,
        0.01,
        1e6,
        "X for first bounds of [-X, X] without a statistics phase",
        nullable=True,
    ),
    Parameter("snap_zero", False, meaning="a knot of the realigned table lies on 0"),
)

ENTRIES = (
    Entry(
        "pwlu",
        "search_space.activations.pwlu:PWLU",
        r"Y_i + (x - B_i) K_i \text{ for } B_i \le x < B_{i+1}",
        "Zhou, Zhu and Zhong, Learning Specialized Activation Functions with the Piecewise "
        "Linear Unit, ICCV, arXiv 2104.03693",
        2021,
        parameters=_PARAMETERS,
        learned=True,
        phases=True,
        unphased_by="bounds",
        shares=("channel", "layer"),
        starts=STARTS,
        default_initial="relu",
        paper_initial="relu",
        flops=8,
        kept=4,
        size=lambda c, p: c * (p["segments"] + 5),
        standard=True,
    ),
    Entry(
        "pwlu_free",
        "search_space.activations.pwlu_free:FreePWLU",
        r"Y_i + (x - B_i) K_i \text{ for } B_i \le x < B_{i+1}, \quad "
        r"B_{i+1} - B_i = (B_N - B_0) \operatorname{softmax}(w)_i",
        "after Zhu and Dong, N-PWLU, ICPR, doi 10.1109/ICPR56361.2022.9956345",
        2022,
        parameters=_PARAMETERS,
        learned=True,
        phases=True,
        unphased_by="bounds",
        shares=("channel", "layer"),
        starts=STARTS,
        default_initial="relu",
        paper_initial="relu",
        flops=40,
        kept=16,
        size=lambda c, p: c * (2 * p["segments"] + 5),
        interpretation="The formula of the non-uniform PWLU was not available to us. That its "
        "widths are a softmax of learned numbers is our reading, as is that the values are learned "
        "as in PWLU and not by sums of the slopes.",
    ),
)
