"""The messages in the table of docs/adapters.md are those of the code, each where it is met."""

import re
from pathlib import Path

import pytest
import torch
from sklearn.svm import SVC
from torch import nn

import qbench
from qbench.errors import QbenchError

PAGE = Path(__file__).parents[2] / "docs" / "adapters.md"
X, Y = torch.rand(8, 256, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 4


def circuit_with_weights():
    qml = pytest.importorskip("pennylane")

    def circuit(inputs, weights):
        return qml.expval(qml.PauliZ(0))

    return qml.QNode(circuit, qml.device("default.qubit", wires=1))


def too_far(model, x, y, threat_model, generator):
    return x + 2 * threat_model.eps * (x < 0.5)


MET = {  # by how each row begins: arguments of `evaluate` that lead to its message
    "does not take": lambda: {"model": nn.Conv2d(3, 4, 3)},
    "the only output": lambda: {"model": nn.Sequential(nn.Linear(256, 1), nn.Sigmoid())},
    "the model returns 2": lambda: {"model": lambda x: (x[:, :4], x[:, 4:8])},
    "gives no gradient": lambda: {"model": lambda x: x[:, :4].detach()},
    "the QNode": lambda: {"model": circuit_with_weights()},
    "scores vary": lambda: {"model": lambda x: x[:, :4] + torch.rand(len(x), 4)},
    "has the pixel": lambda: {"data": (torch.full((8, 256), 255), Y)},
    "has the label": lambda: {"data": (X, Y + 1)},
    "the classes of": lambda: {"model": SVC().fit(X.numpy(), ["a", "b"] * 4)},
    "the scores of": lambda: {"model": lambda x: x[:, :4] * torch.inf, "attack": "square"},
    "leaves the ball": lambda: {"attack": too_far},
}


def test_every_row_is_tried():
    table = PAGE.read_text().partition("## What people meet")[2]
    rows = re.findall(r"^\| `(.*?)` \|", table, re.M)
    assert len(rows) == len(MET)
    for start, row in zip(MET, rows, strict=True):
        assert row.startswith(start)


@pytest.mark.parametrize("start", MET)
def test_the_message_is_that_of_the_code(start):
    given = {"model": nn.Linear(256, 4), "attack": "fgsm", "data": (X, Y)} | MET[start]()
    (row,) = re.findall(rf"^\| `({start}.*?)` \|", PAGE.read_text(), re.M)
    message = re.escape(row).replace(re.escape("(...)"), r"\(.*\)")
    with pytest.raises((QbenchError, UserWarning), match=message):
        qbench.evaluate(given.pop("model"), **given)
