"""Formulas as a terminal shows them: what they become, and which stay as they were written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.tui.text.formulas import to_unicode


@pytest.mark.parametrize(
    ("latex", "shown"),
    [
        (r"x^2 + y_1 \le z_{ij}^{-1}", "x² + y₁ ≤ zᵢⱼ⁻¹"),
        (r"\alpha \to \infty", "α → ∞"),
        (r"e^{i\pi} + 1 = 0", "e^(iπ) + 1 = 0"),
        (r"x^{y^z}, x^α, x_{a^2}", "x^(yᶻ), x^α, x_(a²)"),
        (r"\sum_{i=1}^{n} i = \frac{n(n+1)}{2}", "∑ᵢ₌₁ⁿ i = n(n+1)/2"),
        (r"\int_0^1 f(x)\,dx", "∫₀¹ f(x) dx"),
        (r"\int_0^\infty e^{-x^2} dx, x^\alpha y, x_\alpha(t)", "∫₀^∞ e^(-x²) dx, x^α y, x_α(t)"),
        (r"\lim_{x\to0}\frac{\sin x}{x}", "lim_(x→0) (sin x)/x"),
        (r"2\sin\theta\cos\theta, \log_2 n", "2 sin θ cos θ, log₂ n"),
        (r"\frac{a+b}{c}, \frac{a}{bc}, \frac{dy}{dx}", "(a+b)/c, a/(bc), dy/dx"),
        (r"\frac{\partial f}{\partial x}, \frac{\hbar}{2}", "∂f/∂x, ħ/2"),
        (r"\frac{1}{2}mv^2 = \frac12 m v^2", "(1/2)mv² = (1/2) m v²"),
        (r"x\frac{a}{b}, \left(1+\tfrac1n\right)^n, \frac12^2", "x(a/b), (1+1/n)ⁿ, (1/2)²"),
        (r"\frac{-b \pm \sqrt{b^2-4ac}}{2a}", "(-b ± √(b²-4ac))/(2a)"),
        (r"\sqrt{2} \ne \sqrt[3]{27} = \sqrt[n]{x}", "√2 ≠ ∛27 = ⁿ√x"),
        (r"\mathbb{R}^n, \mathcal{L}, \mathfrak{g}, \mathbf{v}, \mathrm{d}x", "ℝⁿ, ℒ, 𝔤, 𝐯, dx"),
        (r"\hat{x}, \vec{v}, \overline{AB}, f'(x)", "x\u0302, v\u20d7, A\u0305B\u0305, f′(x)"),
        (r"\{ x \in \mathbb{Z} \mid x > 0 \}, \lfloor x \rfloor", "{x ∈ ℤ | x > 0}, ⌊x⌋"),
        (r"a \not= b, a \equiv b \pmod{n}, a \bmod n", "a ≠ b, a ≡ b (mod n), a mod n"),
        (r"90^\circ, A^\top A, 5\%, \$5", "90°, AᵀA, 5%, $5"),
        (r"\text{if } x > 0, \operatorname{rank} A, \boxed{42}", "if x > 0, rank A, 42"),
        (r"\begin{aligned} a &= b + c \\ &= d \end{aligned}", "a = b + c\n  = d"),
        (r"f = \begin{cases} x & x \ge 0 \\ -x & \text{else} \end{cases}", "f = ⎰ x   x ≥ 0\n    ⎱ -x  else"),
        (r"A = \begin{pmatrix} 1 & 20 \\ 3 & 4 \end{pmatrix} + I", "A = ⎛ 1  20 ⎞ + I\n    ⎝ 3  4  ⎠"),
        (r"\begin{bmatrix}1\\2\\3\end{bmatrix}", "⎡ 1 ⎤\n⎢ 2 ⎥\n⎣ 3 ⎦"),
    ],
)
def test_what_a_formula_becomes(latex: str, shown: str) -> None:
    assert to_unicode(latex) == shown


@pytest.mark.parametrize(
    "latex",
    [
        *(r"\unknown{x}", r"\ce{H2O}", r"\underbrace{a+b}_{c}", r"\color{red}{x}", r"\hat{abc}", r"\mathfrak{1}"),
        *("{", r"x^", r"x^2^2", r"\frac{a}", r"\frac{}{b}", r"\begin{x}y\end{x}", r"x % y", r"\text{$x$}", "", r"\,"),
        r"\begin{pmatrix}1\\2\end{pmatrix}\begin{pmatrix}1\\2\end{pmatrix}",
    ],
)
def test_what_has_no_faithful_form_stays_as_it_was_written(latex: str) -> None:
    assert to_unicode(latex) is None


PIECES = (
    *("x", "y", "1", "+", "=", "(", ")", "{", "}", "^", "_", "&", "'", "~", "%", r"\\", r"\,"),
    *(r"\frac", r"\sqrt", r"\alpha", r"\sum", r"\left(", r"\right)", r"\text{a}", r"\hat", r"\mathbb"),
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30))
def test_no_text_is_too_odd(latex: str) -> None:
    """Nothing raises, and letters and digits are never lost."""
    shown = to_unicode(latex)
    if shown is not None and "\\" not in latex:
        assert sum(map(str.isascii, filter(str.isalpha, shown))) <= sum(map(str.isalpha, latex))
        assert shown.count("=") + shown.count("⁼") + shown.count("₌") == latex.count("=")


def test_a_formula_that_is_nested_without_end_stays_as_it_was_written() -> None:
    assert to_unicode("{" * 5000 + "x" + "}" * 5000) is None
    assert to_unicode("x^{" * 5000 + "x" + "}" * 5000) is None
