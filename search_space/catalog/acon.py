"""The ACON family, and Swish with a learned switch, which is its first member."""

from search_space.catalog.entry import Entry, Parameter, Values, hidden_width
from search_space.catalog.scalar import STARTS

_SOURCE = (
    "Ma, Zhang, Liu and Sun, Activate or Not: Learning Customized Activation, CVPR, "
    "arXiv 2009.04759"
)
_ACON = "search_space.activations.acon"
_SIMPLE = "search_space.activations.swish"
_SILU = {name: "silu" for name in STARTS}


def _meta_size(channels: int, values: Values) -> int:
    slopes = 2 * channels
    if values["switch"] != "channel":
        return slopes
    hidden = hidden_width(channels, values["reduction"], values["rule"])
    norms = 0 if values["norm"] == "none" else 2 * (hidden + channels)
    return slopes + 2 * channels * hidden + hidden + channels + norms


ENTRIES = (
    Entry(
        "acon_c",
        f"{_ACON}:AconC",
        r"(p_1 - p_2) x \, \sigma(\beta (p_1 - p_2) x) + p_2 x",
        _SOURCE,
        2021,
        learned=True,
        shares=("channel", "layer"),
        starts=_SILU,
        nearest={name: name for name in ("relu", "gelu")},
        default_initial="silu",
        paper_initial="paper",
        flops=14,
        size=lambda c, _: 3 * c,
        standard=True,
    ),
    Entry(
        "meta_acon",
        f"{_ACON}:MetaAcon",
        r"(p_1 - p_2) x \, \sigma(\beta_c(x) (p_1 - p_2) x) + p_2 x, \quad "
        r"\beta_c(x) = \sigma(W_1 W_2 \operatorname{mean}_{h,w} x)",
        _SOURCE,
        2021,
        parameters=(
            Parameter("reduction", 16, 1, 256, "channels per hidden unit of the small network"),
            Parameter(
                "switch",
                "channel",
                meaning="what has its own switch",
                choices=("channel", "layer", "pixel"),
            ),
            Parameter(
                "norm",
                "batch",
                meaning="normalisation after either layer of the small network",
                choices=("batch", "layer", "none"),
            ),
            Parameter(
                "rule",
                "at_least_4",
                meaning="hidden width: max(C // r, 4), or max(C // r, r) as the authors have it",
                choices=("at_least_4", "official"),
            ),
        ),
        learned=True,
        shares=("channel",),
        starts=_SILU,
        default_initial="silu",
        paper_initial="paper",
        channels_first_only=True,
        pointwise=False,
        flops=15,
        size=_meta_size,
        standard=True,
    ),
    Entry(
        "acon_a",
        f"{_SIMPLE}:AconA",
        r"x \, \sigma(\beta x)",
        _SOURCE,
        2021,
        learned=True,
        shares=("channel", "layer"),
        flops=12,
        size=lambda c, _: c,
    ),
    Entry(
        "acon_b",
        f"{_SIMPLE}:AconB",
        r"(1 - p) x \, \sigma(\beta (1 - p) x) + p x",
        _SOURCE,
        2021,
        learned=True,
        shares=("channel", "layer"),
        starts=_SILU,
        default_initial="silu",
        paper_initial="paper",
        flops=14,
        size=lambda c, _: 2 * c,
        interpretation="The start of p in the paper is not known to us: 0.25 is that of PReLU, "
        "whose smooth form the paper calls it.",
    ),
    Entry(
        "swish",
        f"{_SIMPLE}:Swish",
        r"x \, \sigma(\beta x)",
        "Ramachandran, Zoph and Le, Searching for Activation Functions, arXiv 1710.05941",
        2017,
        learned=True,
        shares=("channel", "layer"),
        flops=12,
        size=lambda c, _: c,
    ),
    Entry(
        "smooth_maximum",
        "search_space.activations.smooth_maximum:SmoothMaximum",
        r"\frac{\sum_i z_i e^{\beta z_i}}{\sum_i e^{\beta z_i}}, \quad z_i = a_i x + b_i",
        _SOURCE,
        2021,
        parameters=(Parameter("lines", 3, 2, 16, "number of linear functions"),),
        learned=True,
        shares=("channel", "layer"),
        flops=60,
        kept=28,
        size=lambda c, p: c * (2 * p["lines"] + 1),
        interpretation="The paper has the smooth maximum of any n values and uses n = 2. As a "
        "unit of one input it is taken of n lines with learned slopes and offsets; two lines "
        "through 0 are ACON-C.",
    ),
)
