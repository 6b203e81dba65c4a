"""Models of scikit-learn that predict a value from a fingerprint (QSAR), without pickles.

A file of skops names the types that it holds, and only types that skops knows for harmless, or that
the user names, are made.  A file of ONNX is a graph of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ipsrl.errors import ConfigError, InvalidInput, MissingExtra, words
from ipsrl.molecules.component import Failure, guarded
from ipsrl.molecules.config import KINDS, QsarConfig
from ipsrl.molecules.molecule import Fingerprint, fingerprint_rows
from ipsrl.runs import digest_of, installed_versions


class Model(NamedTuple):
    """The content of a file.

    Attributes:
      predict: fingerprints [N, bits] to values [N] or [N, 1], or of a classifier to the
        probabilities of two classes [N, 2].
      classifies: whether it is a classifier.
    """

    predict: Callable[[np.ndarray], Any]
    classifies: bool


class Qsar:
    """The prediction of a model: a value, or for two classes the probability of the second.

    Raises:
      MissingExtra: without the library of the file.
      ConfigError: for a file that is not a model, that holds types nobody trusts, or whose model
        takes or gives something else.
    """

    def __init__(self, config: QsarConfig) -> None:
        self.config = config
        self.fingerprint = Fingerprint(config.radius, config.counts, config.features)
        path = Path(config.model)
        self.model = _onnx(path) if path.suffix == ".onnx" else _skops(path, config.trusted)
        try:
            self._values(["C", "CCO"])
        except Exception as error:
            raise ConfigError(
                f"{path} cannot predict from fingerprints of {config.bits} bits ({_line(error)}). "
                "Give bits, radius, counts and features as it was trained with, and a model that "
                "predicts one number, or the probabilities of two classes."
            ) from error
        settings = config.model_dump(exclude={"model", "trusted"})
        versions = installed_versions(("rdkit", *KINDS["qsar"].libraries))
        self.identity = f"qsar {settings} sha256 {digest_of([path])} {versions}"

    def __call__(self, smiles: Sequence[str]) -> Sequence[float | Failure]:
        if not smiles:
            return []
        try:
            values = self._values(smiles)
        except Exception as error:
            if len(smiles) == 1:
                return [Failure(_line(error))]
            return [value for text in smiles for value in self([text])]
        return [guarded(lambda v=v: v) for v in values.tolist()]

    def _values(self, smiles: Sequence[str]) -> np.ndarray:
        rows = fingerprint_rows(smiles, self.fingerprint, self.config.bits)
        found, n = np.asarray(self.model.predict(rows), dtype=float), len(rows)
        if found.shape not in ([(n, 2)] if self.model.classifies else [(n,), (n, 1)]):
            raise InvalidInput(f"it predicts an array of shape {list(found.shape)}")
        # As margins, distances and independent labels do not; 1e-3 is far above float32's rounding.
        if self.model.classifies and not np.allclose(found.sum(1), 1, rtol=0, atol=1e-3):
            raise InvalidInput("its two classes have no probabilities, which would add up to 1")
        return found.reshape(n, -1)[:, -1]


def _skops(path: Path, trusted: list[str]) -> Model:
    try:
        from sklearn.base import BaseEstimator, is_classifier, is_regressor
        from skops.io import get_untrusted_types, load
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    try:
        foreign = get_untrusted_types(file=path)
    except Exception as error:
        raise _not_a_model(path, error) from error
    if unknown := sorted({*foreign} - {*trusted}):
        raise ConfigError(
            f"{path} holds types that skops does not know for harmless: {', '.join(unknown)}. "
            "Loading them can run code. If you trust where the file comes from, name them: "
            f"trusted = {unknown}".replace("'", '"')
        )
    try:
        model: Any = load(path, trusted=foreign)
    except Exception as error:
        raise _not_a_model(path, error) from error
    is_estimator = issubclass(type(model), BaseEstimator)  # isinstance would narrow the type
    classifies = is_estimator and is_classifier(model)
    if not classifies and not (is_estimator and is_regressor(model)):
        raise ConfigError(
            f"{path} holds a {type(model).__name__}, which is neither a regression nor a "
            "classifier, so it predicts no property. Write the trained model, or a Pipeline that "
            "ends with it, by skops.io.dump"
        )
    if not classifies:
        return Model(model.predict, False)
    if not hasattr(model, "predict_proba"):  # which of some depends on their options
        raise _without_probabilities(path)
    return Model(model.predict_proba, True)


def _onnx(path: Path) -> Model:
    try:
        import onnxruntime as runtime
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    options: Any = runtime.SessionOptions()
    options.intra_op_num_threads = 1  # sums in one order
    options.log_severity_level = 3
    try:
        # From bytes, a model cannot name further files.
        session = runtime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise _not_a_model(path, error) from error
    name, kinds = session.get_inputs()[0].name, [one.type for one in session.get_outputs()]
    classifies = kinds[0] not in ("tensor(float)", "tensor(double)")  # labels come first
    if classifies and len(kinds) == 1:
        raise _without_probabilities(path)

    def predict(rows: np.ndarray) -> Any:
        found = session.run(None, {name: rows})[int(classifies)]
        if isinstance(found, list):  # skl2onnx writes {class: probability} for each
            return [[row[label] for label in sorted(row)] for row in found]
        return found

    return Model(predict, classifies)


def _missing(error: ModuleNotFoundError) -> MissingExtra:
    package = (error.name or "").partition(".")[0]
    return MissingExtra("qsar", {"sklearn": "scikit-learn"}.get(package, package))


def _line(error: Exception) -> str:
    return " ".join(words(error).split())  # onnxruntime writes several lines


def _without_probabilities(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} gives labels without probabilities, so all molecules of a class would have one "
        "reward. Train a classifier that has predict_proba (for an SVC, CalibratedClassifierCV)"
    )


def _not_a_model(path: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"{path} cannot be loaded ({_line(error)}). Write it with skops.io.dump of the version of "
        "scikit-learn that is installed here, or with skl2onnx."
    )
