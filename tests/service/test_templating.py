"""Templates escape what they show, and do not hide a name that is missing."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from service.bundle.paper import Latex, latex
from service.templating import html_environment


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "page.html.j2").write_text("{% if x %}\n<p>{{ x }}</p>\n{% endif %}\n")
    return tmp_path


def test_html_is_escaped_and_tags_leave_no_lines(page: Path) -> None:
    template = html_environment(page).get_template("page.html.j2")
    assert template.render(x="<b>&") == "<p>&lt;b&gt;&amp;</p>\n"


def test_a_name_that_is_missing_is_an_error(page: Path) -> None:
    with pytest.raises(UndefinedError, match="'x' is undefined"):
        html_environment(page).get_template("page.html.j2").render()


def test_latex_takes_nothing_in_a_value_for_a_command() -> None:
    assert latex("50 % of a_b & {c} ± \\d") == (r"50 \% of a\_b \& \{c\} $\pm$ \textbackslash{}d")
    assert latex(3) == "3"
    assert latex(Latex(r"\cite{a_b}")) == r"\cite{a_b}"
