"""Raw values of a component to scores in [0, 1]."""

from __future__ import annotations

import numpy as np

from ipsrl.molecules.config import TransformConfig


def transform(values: np.ndarray, config: TransformConfig) -> np.ndarray:
    """Raw values [N] to [0, 1]; NaN stays NaN.

        sigmoid         1 / (1 + 10^{-k (x - (high + low) / 2) 10 / (high - low)})
        reverse-sigmoid 1 - sigmoid
        double-sigmoid  1 / (1 + 10^{-k (x - low) / divisor})          below (high + low) / 2
                        1 / (1 + 10^{k_high (x - high) / divisor})     from there on
        step            1 where low <= x <= high, else 0
        identity        x, cut to [0, 1]

    Source: REINVENT (Blaschke et al. 2020); the paper, appendix B.2; of the double sigmoid
    REINVENT4 (Loeffler et al. 2024, 10.1186/s13321-024-00812-5).  Earlier versions, and Saturn,
    subtract one sigmoid from another instead.
    """
    x, k = np.clip(values, -1e300, 1e300), config.k
    if config.kind == "identity":
        return np.clip(x, 0.0, 1.0)
    low = -np.inf if config.low is None else config.low
    high = np.inf if config.high is None else config.high
    if config.kind == "step":
        return np.where(np.isnan(x), np.nan, (x >= low) & (x <= high))
    if config.kind == "double-sigmoid":
        k_high = k if config.k_high is None else config.k_high
        rising = _logistic(k / config.divisor * (x - low))
        falling = _logistic(-k_high / config.divisor * (x - high))
        return np.where(x < (high + low) / 2, rising, falling)
    sign = -1 if config.kind == "reverse-sigmoid" else 1
    return _logistic(sign * k * 10 / (high - low) * (x - (high + low) / 2))


def _logistic(exponent: np.ndarray) -> np.ndarray:
    return 1 / (1 + 10.0 ** np.clip(-exponent, -300, 300))  # 10^308 is the largest number
