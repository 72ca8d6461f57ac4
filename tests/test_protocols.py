from dataclasses import replace

import numpy as np
import pytest

from qbench.datasets.base import load_data
from qbench.errors import ProtocolError, UnknownNameError, UsageError
from qbench.protocols import load_protocol
from qbench.registry import load_registry


def test_the_leaderboards_protocol():
    protocol = load_protocol("glyphs-linf-v1")
    assert (protocol.norm, protocol.eps, protocol.box) == ("linf", (0.05, 0.1, 0.2), (0.0, 1.0))
    assert protocol.seeds == (0, 1, 2, 3, 4)
    assert protocol.attack_params("pgd", 0.1) == {
        "steps": 40, "relative_step": 2.5, "random_start": True, "restarts": 1, "keep": "best",
    }  # fmt: skip
    assert protocol.first_attack == "pgd"
    glyphs = load_data("glyphs")
    assert len(protocol.selection.images(glyphs).y) == 200
    few = protocol.selection.images(glyphs, 7)
    assert len(few.y) == 7
    few.x.zero_()  # a copy
    assert protocol.selection.images(glyphs, 7).x.max() > 0


@pytest.mark.parametrize(
    ("name", "norm", "eps", "ranking", "seeds", "images", "features", "classes"),
    [
        ("glyphs-l2-v1", "l2", (0.5, 1.0, 2.0), 1.0, 3, 200, 256, 4),
        ("digits-linf-v1", "linf", (0.05, 0.1, 0.2), 0.1, 3, 350, 64, 10),
        ("mnist4-linf-v1", "linf", (0.05, 0.1, 0.2), 0.1, 3, 200, 256, 4),
        ("mnist-linf-v1", "linf", (0.05, 0.1), 0.1, 3, 500, 784, 10),
    ],
)
def test_the_other_boards(name, norm, eps, ranking, seeds, images, features, classes):
    protocol = load_protocol(name)
    assert (protocol.norm, protocol.eps, protocol.ranking_eps) == (norm, eps, ranking)
    assert protocol.seeds == tuple(range(seeds))
    assert protocol.box == (0.0, 1.0)
    usual = load_protocol("glyphs-linf-v1")
    assert protocol.attack_params("pgd", ranking) == usual.attack_params("pgd", 0.1)
    data = load_data(protocol.selection.dataset)
    attacked = protocol.selection.images(data)
    assert attacked.x.shape == (images, features)
    assert (attacked.x == data.test.x).all()
    assert len(data.classes) == classes


def test_the_authors_protocol_doubles_the_steps_at_the_largest_budget():
    protocol = load_protocol("wendlinger2024")
    assert protocol.box is None
    common = {"step": 0.01, "random_start": False, "restarts": 1, "keep": "last"}
    assert protocol.attack_params("pgd", 0.1) == {"steps": 10, **common}
    assert protocol.attack_params("pgd", 0.2) == {"steps": 20, **common}


def test_the_authors_protocol_takes_the_first_hundred_permuted_training_images():
    data = load_data("glyphs")
    split = load_protocol("wendlinger2024").selection.images(data)
    order = np.random.default_rng(123401234).permutation(1000)[:100]
    assert len(split.y) == 100
    assert (split.x == data.train.x[order]).all()
    assert (split.y == data.train.y[order]).all()


def test_a_changed_protocol_is_refused(monkeypatch):
    load_protocol.cache_clear()
    provided = load_registry(()).get("protocol", "glyphs-linf-v1")
    other = replace(provided, spec=replace(provided.spec, sha256="0" * 64))
    monkeypatch.setitem(load_registry(())._specs["protocol"], "glyphs-linf-v1", other)
    with pytest.raises(ProtocolError, match=r"was changed: SHA-256 is .*, pinned is 0000"):
        load_protocol("glyphs-linf-v1")


def test_an_unknown_protocol_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean glyphs-linf-v1"):
        load_protocol("glyphs-linf-v2")


@pytest.mark.parametrize("eps", [-0.1, float("nan"), float("inf")])
def test_budgets_that_make_no_sense(eps):
    with pytest.raises(UsageError, match="ε must be a number of at least 0"):
        load_protocol("glyphs-linf-v1").threat_model(eps)
