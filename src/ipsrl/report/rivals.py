"""Figures of the study of rivals: what each keeps, at what price, and how it goes over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from ipsrl.report.figures import plain

_FEW = 8  # curves that can be told apart
_ROWS = 28  # names in a column of the legend


def pareto(
    points: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]],
    ours: Sequence[str],
    *,
    reward: str,
    coverage: str,
) -> Figure:
    """Reward against coverage, with intervals; ours are filled, rivals open, references black.

    Args:
      points: mean, low and high of reward and of coverage, by name.
      ours: names of what this project has.
      reward, coverage: what the axes are called.
    """
    columns = -(-len(points) // _ROWS)
    figure = Figure(figsize=(6.6 + 1.8 * columns, 5.2), layout="constrained")
    axis = figure.subplots()
    for i, (name, (x, y)) in enumerate(points.items()):
        reference = {"start": "X", "ideal": "*"}.get(name)
        colour = "black" if reference else f"C{i % 10}"
        axis.errorbar(
            x[0], y[0], xerr=_ends(x), yerr=_ends(y), color=colour, linewidth=0.8,
            fmt=reference or "os^Dv"[i // 10 % 5], markersize=10 if reference else 6,
            markerfacecolor=colour if reference or name in ours else "white", label=plain(name),
        )  # fmt: skip
    axis.set(xlabel=reward, ylabel=coverage)
    axis.grid(alpha=0.3)
    axis.legend(
        fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns
    )
    return figure


def curves(
    lines: Mapping[str, Sequence[Sequence[tuple[int, float]]]], references: Mapping[str, float], *,
    coverage: str,
) -> Figure:  # fmt: skip
    """Coverage over the samples drawn: mean and range over the seeds of the best at the end.

    Args:
      lines: points of each seed, by name.
      references: levels of the start and of the ideal sampler.
      coverage: what the axis is called.
    """
    figure = Figure(figsize=(8.4, 3.8), layout="constrained")
    axis = figure.subplots()

    def end(name: str) -> float:
        return sum(line[-1][1] for line in lines[name]) / len(lines[name])

    # grpo is what all others are compared with
    best = sorted((n for n in lines if n != "grpo"), key=end, reverse=True)[: _FEW - 1]
    for name in [*best, *(["grpo"] if "grpo" in lines else [])]:
        x = [at for at, _ in lines[name][0]]
        each = list(zip(*([value for _, value in line] for line in lines[name]), strict=True))
        (line,) = axis.plot(x, [sum(values) / len(values) for values in each], label=plain(name))
        low, high = [min(values) for values in each], [max(values) for values in each]
        axis.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    for name, level in references.items():
        axis.axhline(level, color="black", linestyle=":" if name == "start" else "--", linewidth=1)
    axis.set(xlabel="samples", ylabel=coverage)
    axis.set_title("the best at the end, and grpo; dotted: start, dashed: ideal", fontsize=9)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _ends(interval: tuple[float, float, float]) -> list[list[float]]:
    mean, low, high = interval
    return [[max(mean - low, 0.0)], [max(high - mean, 0.0)]]
