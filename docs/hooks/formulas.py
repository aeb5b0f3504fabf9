"""Shows the formulas of docstrings as code; the site loads no script that would typeset them."""

import re
from typing import Any

import griffe

FORMULA = re.compile(r"^\.\. math:: (.+)$", re.MULTILINE)


class Formulas(griffe.Extension):
    """Rewrites `.. math::` of reStructuredText as a block of code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:  # noqa: ARG002
        if obj.docstring is not None:
            obj.docstring.value = FORMULA.sub(r"```latex\n\1\n```", obj.docstring.value)
