import pytest
import torch

import qbench
from qbench.datasets.base import Split
from qbench.errors import DataError, UnknownNameError, Unsupported, UsageError, WeightsError


def test_a_notebook_in_five_lines():
    model = qbench.load_model("reup", seed=0)
    glyphs = qbench.load_dataset("glyphs")
    few = Split(glyphs.test.x[:20], glyphs.test.y[:20])
    result = qbench.evaluate(model, attack="pgd", eps=0.1, data=few)
    assert result.clean_accuracy >= 0.8
    assert result.robust_accuracy <= result.clean_accuracy - 0.2
    low, high = result.wilson95
    assert low <= result.robust_accuracy <= high
    assert (result.x_adv - few.x).abs().max() <= 0.1 + 1e-6
    assert (result.forward, result.gradient) == (20 * 41, 20 * 40)
    assert str(result).startswith(f"clean {result.clean_accuracy:.3f}, robust")


def test_ones_own_module_is_left_as_it_was():
    torch.manual_seed(0)
    mine = torch.nn.Sequential(torch.nn.Linear(256, 4), torch.nn.Dropout(0.5)).train()
    result = qbench.evaluate(mine, attack="fgsm", eps=0.05)
    assert mine.training
    assert all(p.requires_grad for p in mine.parameters())
    assert all(p.grad is None for p in mine.parameters())
    assert len(result.x_adv) == 200


def test_the_name_of_a_model_will_do_and_seeds_differ():
    results = [qbench.evaluate("convnet", eps=0.1, seed=seed, steps=5) for seed in (0, 0, 1)]
    assert results[0].robust_accuracy == results[1].robust_accuracy
    assert torch.equal(results[0].x_adv, results[1].x_adv)
    assert not torch.equal(results[0].x_adv, results[2].x_adv)
    assert results[0].gradient == 200 * 5


def test_a_budget_of_zero_changes_nothing():
    result = qbench.evaluate("convnet", eps=0.0)
    assert result.robust_accuracy == result.clean_accuracy
    assert torch.equal(result.x_adv, qbench.load_dataset().test.x)


def test_every_zoo_model_is_what_it_claims():
    glyphs = qbench.load_dataset()
    for name, least in [("reup", 0.9), ("amplitude", 0.97), ("convnet", 0.97), ("fourier", 0.97)]:
        predicted = qbench.load_model(name, seed=1)(glyphs.test.x).argmax(1)
        assert (predicted == glyphs.test.y).float().mean() >= least


def test_an_untrained_model():
    assert qbench.load_model("convnet", seed=None)(torch.rand(2, 256)).shape == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"model": "convmet"}, UnknownNameError, "did you mean convnet"),
        ({"attack": "pgdd"}, UnknownNameError, "did you mean pgd"),
        ({"eps": -1}, UsageError, "ε must be"),
        ({"eps": float("nan")}, UsageError, "ε must be"),
        ({"norm": "l1"}, Unsupported, "pgd cannot be bounded in 'l1': it takes linf, l2"),
        ({"model": "convnet", "seed": 77}, WeightsError, "no weights of 'convnet' with seed 77"),
        ({"model": 3}, UsageError, "must be a torch.nn.Module or a name, got int"),
        (
            {"data": Split(torch.full((2, 256), 1.5), torch.zeros(2, dtype=torch.int64))},
            DataError,
            r"image 0 \(2 in all\) has the pixel 1.5, outside \[0, 1\]",
        ),
        (
            {"data": Split(torch.zeros(2, 16, 16), torch.zeros(2, dtype=torch.int64))},
            DataError,
            r"got torch.float32 of shape \(2, 16, 16\)",
        ),
        (
            {"model": "amplitude", "data": Split(torch.zeros(2, 256), torch.zeros(2).long())},
            DataError,
            "image 0 is all zero",
        ),
    ],
)
def test_bad_input_is_named(arguments, error, complaint):
    with pytest.raises(error, match=complaint):
        qbench.evaluate(**{"model": "convnet", **arguments})


def test_images_of_another_size_name_the_models():
    wrong = Split(torch.rand(2, 100), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(DataError, match=r"does not take torch.float32 images of 100 pixels"):
        qbench.evaluate("convnet", data=wrong)


def test_there_is_nothing_else():
    assert {"load_model", "load_dataset", "load_published", "evaluate"} <= set(dir(qbench))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = qbench.nonsense
