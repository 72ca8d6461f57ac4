"""Adapters of classifiers with scikit-learn's interface; scikit-learn itself is not imported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbench.adapters.base import Adapted
from qbench.adapters.gradients import Estimate
from qbench.adapters.layout import Wanted
from qbench.adapters.outputs import Outputs
from qbench.errors import UsageError


def is_estimator(thing: object) -> bool:
    """Whether it has scikit-learn's interface."""
    return hasattr(thing, "predict") and hasattr(thing, "fit") and not isinstance(thing, type)


class AdaptedEstimator(Adapted):
    """A fitted classifier: its `decision_function`, else its `predict_proba`, else its labels.

    It has no gradient by the images. From labels alone, scores are 1 for the class and 0 for the
    others, which only decision-based attacks can make use of.

    Args:
        estimator: A classifier whose classes are 0, 1, ..., as labels are in qbench.
        wanted, gradient: See `Adapted`.

    Raises:
        UsageError: It is not fitted, is no classifier, or has other classes.
    """

    own_gradient = False
    dtypes = (torch.float64,)

    def __init__(self, estimator: Any, wanted: Wanted, gradient: Estimate | None) -> None:
        name = type(estimator).__name__
        classes = _classes(estimator, name)
        self._count = len(classes)
        self._method = next(
            (m for m in ("decision_function", "predict_proba") if hasattr(estimator, m)), "predict"
        )
        if self._method == "decision_function" and not _one_column_a_class(estimator):
            self._method = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
        outputs: Outputs = "probabilities" if self._method == "predict_proba" else "logits"
        kind = f"scikit-learn's {name}, its {self._method}"
        super().__init__(kind, replace(wanted, outputs=wanted.outputs or outputs), gradient)
        self.estimator = estimator
        self._columns = getattr(estimator, "feature_names_in_", None)

    def ask(self, x: Tensor) -> object:
        """What the estimator says of images (n, features)."""
        returned = getattr(self.estimator, self._method)(self._rows(x))
        if self._method == "predict":
            return np.eye(self._count)[np.asarray(returned).astype(int)]
        return returned

    def without_gradient(self) -> str:
        """Why there is none."""
        return "scikit-learn computes no derivatives"

    def _rows(self, x: Tensor) -> Any:
        values: NDArray[np.float64] = x.detach().cpu().numpy().copy()
        if self._columns is None:
            return values
        import pandas as pd

        return pd.DataFrame(values, columns=self._columns)


def _classes(estimator: Any, name: str) -> list[Any]:
    if not hasattr(estimator, "classes_"):
        if hasattr(estimator, "decision_function") or hasattr(estimator, "predict_proba"):
            raise UsageError(f"{name} is not fitted: call its fit first")
        raise UsageError(
            f"{name} has no classes_: give a classifier that was fitted, or a function that "
            "returns scores"
        )
    classes = list(np.asarray(estimator.classes_).tolist())
    if classes != list(range(len(classes))) or len(classes) < 2:
        shown = ", ".join(map(repr, classes[:5])) + (", ..." if len(classes) > 5 else "")
        raise UsageError(
            f"the classes of {name} are {shown}: fit it on labels 0, 1, ... (scikit-learn's "
            "LabelEncoder makes them)"
        )
    return classes


def _one_column_a_class(estimator: Any) -> bool:
    """Whether `decision_function` compares classes with the rest, not with one another."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    return getattr(last, "decision_function_shape", "ovr") != "ovo"
