"""Activations that depend on more of their input than the number they are applied to."""

from search_space.catalog.entry import Entry, Parameter, Values, hidden_width

_DYNAMIC = "search_space.activations.dynamic"
_FUNNEL = "search_space.activations.funnel"
_DY_RELU = "Chen et al., Dynamic ReLU, ECCV, arXiv 2003.10027"
_UNSURE = (
    "The reduction of the paper's own small network could not be checked; 8 is from memory, and "
    "no hidden layer is narrower than 4."
)
_REDUCTION = Parameter("reduction", 8, 1, 256, "channels per hidden unit of the small network")
_PIECES = Parameter("pieces", 2, 2, 8, "number K of lines")


def _dynamic_size(channels: int, values: Values, lines: int) -> int:
    hidden = hidden_width(channels, values["reduction"])
    out: int = 2 * values["pieces"] * lines
    return (channels + 1) * hidden + (hidden + 1) * out


def _gate_size(channels: int, values: Values) -> int:
    hidden = hidden_width(channels, values["reduction"])
    return (channels + 1) * hidden + (hidden + 1) * channels


ENTRIES = (
    Entry(
        "frelu",
        f"{_FUNNEL}:FReLU",
        r"\max(x, BN(w * x)), \quad w \text{ of } 3 \times 3 \text{ for each channel}",
        "Ma, Zhang and Sun, Funnel Activation for Visual Recognition, ECCV, arXiv 2007.11824",
        2020,
        learned=True,
        shares=("channel",),
        channels_first_only=True,
        pointwise=False,
        rank=4,
        flops=21,
        kept=12,
        size=lambda c, _: 12 * c,
        interpretation="What the convolution starts as could not be checked: N(0, 0.01), which "
        "is what the same authors' ACON-FReLU has.",
    ),
    Entry(
        "acon_frelu",
        f"{_FUNNEL}:AconFReLU",
        r"(x - \eta) \sigma(x - \eta) + \eta, \quad \eta = BN(w * x)",
        "Ma, Zhang, Liu and Sun, Activate or Not: Learning Customized Activation, CVPR, "
        "arXiv 2009.04759",
        2021,
        learned=True,
        shares=("channel",),
        channels_first_only=True,
        pointwise=False,
        rank=4,
        flops=32,
        kept=12,
        size=lambda c, _: 12 * c,
    ),
    Entry(
        "dy_relu_a",
        f"{_DYNAMIC}:DyReLUA",
        r"\max_k (a^k(x) \, x_c + b^k(x))",
        _DY_RELU,
        2020,
        parameters=(_REDUCTION, _PIECES),
        learned=True,
        shares=("channel",),
        channels_first_only=True,
        pointwise=False,
        flops=6,
        kept=12,
        size=lambda c, p: _dynamic_size(c, p, 1),
        interpretation=_UNSURE,
    ),
    Entry(
        "dy_relu_b",
        f"{_DYNAMIC}:DyReLUB",
        r"\max_k (a_c^k(x) \, x_c + b_c^k(x))",
        _DY_RELU,
        2020,
        parameters=(_REDUCTION, _PIECES),
        learned=True,
        shares=("channel",),
        channels_first_only=True,
        pointwise=False,
        flops=6,
        kept=12,
        size=lambda c, p: _dynamic_size(c, p, c),
        interpretation=_UNSURE,
    ),
    Entry(
        "se_relu",
        f"{_DYNAMIC}:SEReLU",
        r"r \, \sigma(W_2 \max(W_1 \operatorname{mean}_{h,w} r, 0)), \quad r = \max(x, 0)",
        "Hu, Shen and Sun, Squeeze-and-Excitation Networks, CVPR, arXiv 1709.01507",
        2018,
        parameters=(
            Parameter("reduction", 16, 1, 256, "channels per hidden unit of the small network"),
        ),
        learned=True,
        shares=("channel",),
        channels_first_only=True,
        pointwise=False,
        flops=2,
        kept=4,
        size=_gate_size,
        interpretation="The paper gates the output of a block. As an activation it is read as "
        "ReLU whose output is gated; no hidden layer is narrower than 4.",
    ),
)
