"""Learned functions of one number outside the larger families."""

from math import inf, nan

from search_space.catalog.entry import Entry, Parameter
from search_space.catalog.scalar import STARTS

_RECTIFIED = "search_space.activations.rectified"

_UNARY = (
    *("identity", "negative", "absolute", "square", "cube", "sqrt", "scale", "shift", "log"),
    *("exp", "sin", "cos", "sinh", "cosh", "tanh", "asinh", "atan", "sinc", "positive"),
    *("negative_part", "sigmoid", "softplus", "gaussian", "erf", "constant"),
)
_BINARY = (
    *("add", "multiply", "subtract", "divide", "maximum", "minimum", "gate", "near_square"),
    *("near_absolute", "mix"),
)

ENTRIES = (
    Entry(
        "prelu",
        f"{_RECTIFIED}:PReLU",
        r"\max(x, 0) + a \min(x, 0)",
        "He, Zhang, Ren and Sun, Delving Deep into Rectifiers, ICCV, arXiv 1502.01852",
        2015,
        parameters=(Parameter("slope", 0.25, -1, 1, "first value of a"),),
        learned=True,
        shares=("channel", "layer"),
        flops=3,
        kept=5,
        limits=(-inf, inf),
        size=lambda c, _: c,
    ),
    Entry(
        "star_relu",
        f"{_RECTIFIED}:StarReLU",
        r"s \max(x, 0)^2 + b",
        "Yu et al., MetaFormer Baselines for Vision, TPAMI, arXiv 2210.13452",
        2022,
        learned=True,
        shares=("layer", "channel"),
        flops=4,
        kept=8,
        limits=(-0.4472, inf),
        size=lambda c, _: 2 * c,
    ),
    Entry(
        "xielu",
        f"{_RECTIFIED}:XIELU",
        r"a_p x^2 + x/2 \text{ if } x > 0 \text{ else } a_n (e^x - 1 - x) + x/2, \quad "
        r"a_p = \operatorname{softplus}(\alpha_p), a_n = 1/2 + \operatorname{softplus}(\alpha_n)",
        "Huang and Schlag, Deriving Activation Functions Using Integration, arXiv 2411.13010",
        2024,
        learned=True,
        shares=("layer", "channel"),
        flops=18,
        kept=20,
        limits=(inf, inf),
        size=lambda c, _: 2 * c,
    ),
    Entry(
        "rational",
        "search_space.activations.rational:Rational",
        r"\frac{\sum_{i=0}^{m} a_i x^i}{1 + \sum_{k=1}^{n} |b_k| |x|^k}",
        "Molina, Schramowski and Kersting, Padé Activation Units, ICLR, arXiv 1907.06732",
        2019,
        parameters=(
            Parameter("numerator", 5, 1, 8, "degree m of the numerator"),
            Parameter("denominator", 4, 1, 8, "degree n of the denominator"),
        ),
        learned=True,
        shares=("layer", "channel"),
        starts=STARTS,
        default_initial="leaky_relu",
        paper_initial="leaky_relu",
        flops=22,
        kept=44,
        limits=(nan, nan),
        size=lambda c, p: c * (p["numerator"] + 1 + p["denominator"]),
        interpretation="The denominator is that of the authors' code, version A; which one each "
        "of the paper's tables used is not known to us. The start is our own fit on [-3, 3].",
    ),
    Entry(
        "snake",
        "search_space.activations.periodic:Snake",
        r"x + \sin^2(a x) / a",
        "Ziyin, Hartwig and Ueda, Neural Networks Fail to Learn Periodic Functions and How to "
        "Fix It, NeurIPS, arXiv 2006.08195",
        2020,
        parameters=(Parameter("frequency", 1.0, 0.001, 1000, "first value of a"),),
        learned=True,
        shares=("channel", "layer"),
        flops=15,
        kept=24,
        limits=(-inf, inf),
        size=lambda c, _: c,
    ),
    Entry(
        "composed",
        "search_space.activations.composed:Composed",
        r"b(u_1(x), u_2(x))",
        "Ramachandran, Zoph and Le, Searching for Activation Functions, arXiv 1710.05941",
        2017,
        parameters=(
            Parameter("binary", "multiply", meaning="b", choices=_BINARY),
            Parameter("first", "identity", meaning="u_1", choices=_UNARY),
            Parameter("second", "sigmoid", meaning="u_2", choices=_UNARY),
        ),
        learned=True,
        shares=("channel", "layer"),
        flops=14,
        kept=8,
        size=lambda c, _: 3 * c,
        tied="network",
        interpretation="How the search guarded functions outside their domains is not known to "
        "us: roots and logarithms are taken of the absolute value, exponents are bounded, and a "
        "divisor is kept from 0. Each beta starts at 1.",
    ),
)
