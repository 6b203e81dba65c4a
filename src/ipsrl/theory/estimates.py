"""Bias, variance and cost of the estimators of p(outcome), in closed form.

Of a drawn sample: its outcome has probability p, and m of the other samples that are counted have
it too, m ~ Binomial.  Every estimate here is a function of m, or of how many different texts of the
outcome the group shows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ipsrl.core.arrays import is_count
from ipsrl.errors import InvalidInput

SMOOTHING = 0.5  # of leave-one-out, its default


class Quality(NamedTuple):
    """Quality of p^ over p, and of the weight p / p^, which is 1 for exact p.

    Attributes:
      mean: E[p^ / p]; above 1, the outcome seems commoner than it is.
      sd: standard deviation of p^ / p.
      weight: E[p / p^] = f(p), the expected contribution of the outcome in units of its reward.
      weight_sd: standard deviation of p / p^.
      pull: 1 - d log f / d log p: which part of a change of p is worked against.  1 for exact p and
        0 for expected return, where f is p; a common factor of all weights does not change it.
      passes: forward passes over a group of texts, for each group that is drawn.
    """

    mean: float
    sd: float
    weight: float
    weight_sd: float
    pull: float
    passes: int


def quality(
    estimator: str, p: float, group_size: int, *, visits: int = 8, ways: int = 1
) -> Quality:
    """Quality of an estimate of p for a sample that was drawn, with a policy that does not move.

        group          p^ = (1 + m) / G,              f(p) = 1 - (1 - p)^G
        leave-one-out  p^ = (m + s) / (G - 1 + s),    s = 1/2
        replay         p^ = (1 + m) / (V G),          f(p) = 1 - (1 - p)^(V G)
        likelihood     p^ = D p / W,                  D different texts of W in the group
        exact          p^ = p,                        f(p) = 1

    With m ~ Binomial(N - 1, p) of N counted samples E[1 / (1 + m)] = (1 - (1 - p)^N) / (N p), so a
    history of V visits acts like a group of V G.

    Args:
      estimator: one of these names.
      p: probability of the outcome, in (0, 1).
      group_size: G.
      visits: V, groups that replay counts, this one included.
      ways: W, equally likely texts of an outcome.
    Returns:
      the quality.
    Raises:
      InvalidInput: for another estimator, or numbers that cannot be.
    """
    if not (0 < p < 1 and is_count(group_size) and is_count(visits) and is_count(ways)):
        raise InvalidInput(
            f"p is {p}, group_size {group_size}, visits {visits} and ways {ways}. Use a "
            "probability between 0 and 1, and whole numbers of at least 1."
        )

    def weight(p: float) -> float:
        values, chances = _values(estimator, p, group_size, visits, ways)
        return float(p * chances @ (1 / values))

    values, chances = _values(estimator, p, group_size, visits, ways)
    mean, mean_weight = float(chances @ values / p), weight(p)
    # Central: f is smooth, and its third derivative times p^3 is of order 1.
    step = 1e-4 * min(p, 1 - p)
    slope = (weight(p + step) - weight(p - step)) / (2 * step)
    return Quality(
        mean=mean,
        sd=float(np.sqrt(chances @ (values / p - mean) ** 2)),
        weight=mean_weight,
        weight_sd=float(np.sqrt(chances @ (p / values - mean_weight) ** 2)),
        pull=1 - p * slope / mean_weight,
        passes={"likelihood": 1, "replay": visits}.get(estimator, 0),
    )


def _values(
    estimator: str, p: float, group_size: int, visits: int, ways: int
) -> tuple[np.ndarray, np.ndarray]:
    """The possible values of p^, and their probabilities."""
    if estimator == "exact":
        return np.array([p]), np.ones(1)
    if estimator == "likelihood":
        chances = _different(p, group_size, ways)
        return np.arange(1, ways + 1) * p / ways, chances
    if estimator not in ("group", "leave-one-out", "replay"):
        raise InvalidInput(
            f"estimator is {estimator!r}. Use 'group', 'leave-one-out', 'replay', 'likelihood' or "
            "'exact'."
        )
    size = group_size * (visits if estimator == "replay" else 1)
    s = SMOOTHING if estimator == "leave-one-out" else 1.0
    m = np.arange(size)
    return (m + s) / (size - 1 + s), _binomial(size - 1, p)


def _binomial(trials: int, p: float) -> np.ndarray:
    """Probabilities of 0 to n successes [n + 1]."""
    m = np.arange(trials + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((trials - m[1:] + 1) / m[1:]))])
    return np.exp(log_choose + m * np.log(p) + (trials - m) * np.log1p(-p))


def _different(p: float, group_size: int, ways: int) -> np.ndarray:
    """Probabilities that an outcome that was drawn has 1 to W different texts [W]."""
    chances = np.zeros(ways)
    chances[0] = 1.0
    new = (ways - np.arange(1, ways + 1)) * p / ways
    for _ in range(group_size - 1):
        found = chances * new
        chances = chances - found
        chances[1:] += found[:-1]
    return chances
