import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import qbench
from qbench.datasets.base import Split
from qbench.errors import (
    DataError,
    PluginError,
    QbenchError,
    UnknownNameError,
    Unsupported,
    UsageError,
    VerificationError,
    WeightsError,
)
from qbench.interfaces import Radii
from qbench_certificates.convnet.linear import Linear


def _needs_gradient(model, x, y, threat_model, generator):
    point = x.clone().requires_grad_()
    torch.autograd.grad(model(point).sum(), point)
    return x


def _without_gradient(x):
    return x.detach()[:, :4]


def _not_a_number(x):
    return x[:, :4] * torch.nan


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
        ({"norm": "l1"}, UsageError, """norm is "linf" or "l2", not 'l1'"""),
        ({"attack": "ddn"}, Unsupported, "ddn cannot be bounded in 'linf': it takes l2"),
        ({"model": "convnet", "seed": 77}, WeightsError, "no weights of 'convnet' with seed 77"),
        ({"model": 3}, UsageError, "int is no model: give a torch module"),
        (
            {"data": Split(torch.full((2, 256), 1.5), torch.zeros(2, dtype=torch.int64))},
            DataError,
            r"image 0 \(2 in all\) has the pixel 1.5, outside \[0, 1\]",
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


def few(n=8):
    glyphs = qbench.load_dataset()
    return glyphs.test.x[:n], glyphs.test.y[:n]


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: Split(x, y),
        lambda x, y: (x.numpy(), y.numpy()),
        lambda x, y: [x.tolist(), y.tolist()],
        lambda x, y: (x.double(), y.int()),
        lambda x, y: (x.reshape(-1, 16, 16), torch.nn.functional.one_hot(y)),
        lambda x, y: (x.reshape(-1, 1, 16, 16).numpy(), y[:, None].numpy().astype("uint8")),
        lambda x, y: TensorDataset(x.reshape(-1, 1, 16, 16), y),
        lambda x, y: DataLoader(TensorDataset(x, y.int()), batch_size=3),
    ],
)
def test_images_and_labels_come_in_any_form(form):
    expected = qbench.evaluate("convnet", "fgsm", data=Split(*few()))
    result = qbench.evaluate("convnet", "fgsm", data=form(*few()))
    assert result.robust_accuracy == expected.robust_accuracy == 5 / 8
    assert torch.allclose(result.x_adv.float(), expected.x_adv)


def test_a_data_set_stands_for_its_test_images():
    result = qbench.evaluate("convnet", "fgsm", 0.0, data=qbench.load_dataset())
    assert len(result.x_adv) == 200


@pytest.mark.parametrize(
    ("data", "error", "complaint"),
    [
        (lambda x, y: (x[:0], y[:0]), DataError, "there are no images: give at least one"),
        (lambda x, y: (x, y[:3]), DataError, "there are 8 images and 3 labels"),
        (
            lambda x, y: (x, y + 2),
            DataError,
            r"image 0 \(4 in all\) has the label 4: the model has 4",
        ),
        (lambda x, y: (x, y - 1), DataError, "label -1 is no class: give integers from 0"),
        (lambda x, y: (x, y + 0.5), DataError, "label 2.5 is no class: give integers from 0"),
        (lambda x, y: (x, ["a"] * 8), DataError, "labels hold str32, not numbers"),
        (lambda x, y: (x, torch.ones(8, 4)), DataError, "must be one-hot: a single 1 in each row"),
        (lambda x, y: (x[0], y[0]), DataError, r"images must be numbers of shape \(n, ...\)"),
        (lambda x, y: (x * torch.nan, y), DataError, "has the pixel nan: give finite numbers"),
        (lambda x, y: (x * 255, y), DataError, r"scale the images, or say .* box=\(0, 255\)"),
        (lambda x, y: (x - 2, y), DataError, r"scale the images, or say .* box=\(-2, -1"),
        (lambda x, y: (x, y, y), UsageError, "data is a tuple of 3: give the name of a data set"),
        (lambda x, y: x, UsageError, "data is a Tensor: give the name of a data set"),
        (lambda x, y: ([[1, 2], [3]], [0, 1]), DataError, "images are no array of numbers"),
        (lambda x, y: TensorDataset(x), DataError, "the TensorDataset gives no pairs"),
        (lambda x, y: DataLoader(TensorDataset(x[:0], y[:0])), DataError, "DataLoader is empty"),
        (lambda x, y: "iris-of-mine", UnknownNameError, "unknown dataset 'iris-of-mine'"),
    ],
)
def test_data_that_cannot_be_used_is_one_clear_line(data, error, complaint):
    with pytest.raises(error, match=complaint) as caught:
        qbench.evaluate("convnet", "fgsm", data=data(*few()))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"box": (1, 0)}, UsageError, "box is the smallest and the largest pixel"),
        ({"box": 3}, UsageError, "box is the smallest and the largest pixel"),
        ({"eps": "much"}, UsageError, "ε must be a number or several, got 'much'"),
        ({"eps": []}, UsageError, "ε: give at least one budget"),
        ({"eps": [0.1, -1]}, UsageError, "ε must be a number of at least 0, got -1"),
        ({"attack": []}, UsageError, "attack: give at least one"),
        ({"attack": 3}, UsageError, r"a function attack\(model, x, y, threat_model, generator\)"),
        ({"attack": lambda model, x: x}, UsageError, "cannot be called as attack"),
        ({"attack": ["pgd"], "steps": 3}, UsageError, "steps: parameters go with a single attack"),
        ({"attack": lambda m, x, y, t, g: x + 1}, VerificationError, "leaves the box"),
        ({"engine": "aer"}, Unsupported, "no circuit that a qbench engine could run"),
        ({"shots": 10}, UsageError, "no PennyLane layer whose shots could be set"),
        ({"model": torch.nn.Linear(256, 4), "attack": _needs_gradient}, None, ""),
        ({"model": _without_gradient, "attack": "pgd"}, Unsupported, "pgd needs gradients: fun"),
        ({"model": _without_gradient, "attack": _needs_gradient}, Unsupported, "take an attack th"),
        ({"model": _not_a_number, "attack": "pgd"}, VerificationError, "image 0 .* not finite"),
        ({"plugins": ["none.py"]}, PluginError, "none.py does not load"),
    ],
)
def test_arguments_that_cannot_be_carried_out(arguments, error, complaint):
    call = {"model": "convnet", "data": few(), **arguments}
    if error is None:
        qbench.evaluate(**call)
        return
    with pytest.raises(error, match=complaint) as caught:
        qbench.evaluate(**call)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("norm", ["linf", "Linf", "L_inf", float("inf"), "ℓ∞", "l2", "L2", 2, 2.0])
def test_norms_are_known_by_their_usual_names(norm):
    result = qbench.evaluate("convnet", "fgsm", 0.5, norm=norm, data=few(), box=None)
    assert result.norm == ("l2" if "2" in str(norm) else "linf")
    moved = result.x_adv - few()[0]
    length = moved.norm(dim=1) if result.norm == "l2" else moved.abs().amax(1)
    assert length.tolist() == pytest.approx([0.5] * 8, rel=1e-5)


def test_parameters_stand_in_the_name_of_an_attack_too():
    by_name = qbench.evaluate("convnet", "pgd:steps=3", data=few())
    assert (by_name.attack, by_name.gradient) == ("pgd:steps=3", 8 * 3)
    assert torch.equal(by_name.x_adv, qbench.evaluate("convnet", steps=3, data=few()).x_adv)


def test_an_unknown_parameter_is_named_with_those_that_there_are():
    with pytest.raises(UnknownNameError, match="parameter of pgd 'step_size': did you mean"):
        qbench.evaluate("convnet", step_size=1, data=few())
    with pytest.raises(UnknownNameError, match="parameter of hopskipjump 'queries'"):
        qbench.evaluate("convnet", ["fgsm", "hopskipjump:queries=9"], data=few())
    with pytest.raises(UnknownNameError, match="parameter of smoothing 'sample': did you mean"):
        qbench.certify("convnet", few(), certifier="smoothing", norm="l2", sample=9)


def test_several_attacks_and_budgets_are_one_table():
    found = qbench.evaluate("convnet", ["pgd:steps=3", "fgsm"], [0.05, 0.1], data=few())
    assert [(one.attack, one.eps) for one in found] == [
        ("pgd:steps=3", 0.05),
        ("pgd:steps=3", 0.1),
        ("fgsm", 0.05),
        ("fgsm", 0.1),
    ]
    table = found.to_pandas()
    assert table.robust_accuracy.tolist() == [one.robust_accuracy for one in found]
    assert found[3].robust_accuracy == 5 / 8
    assert len(found[3].to_pandas()) == 1
    assert str(found).splitlines()[3] == f"fgsm, linf, ε = 0.1: {found[3]}"


def test_an_attack_of_ones_own():
    def to_black(model, x, y, threat_model, generator):
        return (x - threat_model.eps).clamp(0, 1)

    result = qbench.evaluate("convnet", to_black, 1.0, data=few())
    assert result.attack == "to_black"
    assert torch.equal(result.x_adv, torch.zeros(8, 256))
    black = qbench.load_model("convnet")(torch.zeros(1, 256)).argmax()
    assert result.robust_accuracy == float((few()[1] == black).double().mean())


def test_an_image_network_is_asked_in_its_own_shape():
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(392, 4)
    )
    flat = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 16, 16)), network)
    x, _ = few()
    y = network(x.reshape(-1, 1, 16, 16)).argmax(1)
    direct, wrapped = (qbench.evaluate(m, "pgd:steps=5", 0.4, data=(x, y)) for m in (network, flat))
    assert torch.equal(direct.x_adv, wrapped.x_adv)
    assert direct.clean_accuracy == 1.0 > direct.robust_accuracy == wrapped.robust_accuracy
    assert "takes (1, 16, 16)" in direct.model


class Flips(torch.nn.Module):
    """Says class 1 in three passes of ten, whatever the image."""

    def forward(self, x):
        one = (torch.rand(len(x)) < 0.3).to(x)
        return torch.stack([1 - one, one], 1) + 0 * x[:, :2]


def test_scores_that_vary_are_found_out_and_averaged():
    data = torch.rand(500, 4), torch.zeros(500).long()
    with pytest.warns(UserWarning, match="Flips: scores vary from pass to pass; attacks see the"):
        result = qbench.evaluate(Flips(), "fgsm", 0.0, data=data)
    assert result.passes == 10
    assert result.per_image["clean_prediction"].shape == (10, 500)
    # 5000 draws: a standard error of 0.0065; both clean and attacked right: 0.7².
    assert result.clean_accuracy == pytest.approx(0.7, abs=0.03)
    assert result.robust_accuracy == pytest.approx(0.49, abs=0.03)
    assert str(result).endswith("over 500 images, means of 10 passes")


def test_shots_and_engines_reach_our_circuits_and_leave_them_as_they_were():
    model = qbench.load_model("reup")
    own = model.engine
    exact = qbench.evaluate(model, "fgsm", 0.0, data=few())
    assert exact.passes == 1
    with pytest.warns(UserWarning, match="scores vary"):
        sampled = qbench.evaluate(model, "fgsm", 0.0, data=few(), shots=20)
    assert model.engine is own
    few_shots, exactly = (r.per_image["clean_margin"].astype(float) for r in (sampled, exact))
    assert few_shots.shape == (10, 8)
    # A score of 20 shots has a standard error below 1/√20; margins are differences of two.
    assert abs(few_shots.mean(0) - exactly).max() < 5 * (2 / (20 * 10)) ** 0.5 + 0.3
    named = qbench.evaluate(model, "fgsm", 0.1, data=few(), engine="statevector")
    assert torch.equal(named.x_adv, qbench.evaluate(model, "fgsm", data=few()).x_adv)


PLUGIN = """
import numpy as np
import qbench
from qbench.hookspecs import hookimpl
from qbench.specs import AttackSpec, ModelSpec

@hookimpl
def qbench_models():
    yield ModelSpec(name="brightness", description="a function on arrays",
        factory=f"{__name__}:model", family="classical", structure="brightness")

@hookimpl
def qbench_attacks():
    yield AttackSpec(name="darker", description="darker", factory=f"{__name__}:Darker",
        norms=("linf",), gradient=False)

def scores(x):
    return np.stack([0 * x[:, 0], np.asarray(x).mean(1) - 0.1], 1)

def model():
    return qbench.adapt(scores)

class Darker:
    def __call__(self, model, x, y, threat_model, generator):
        return (x - threat_model.eps).clamp(0, 1)
"""


def test_names_of_a_plugin_file(tmp_path):
    path = tmp_path / "brightness_plugin.py"
    path.write_text(PLUGIN)
    x, _ = few(50)
    y = (x.mean(1) > 0.1).long()
    result = qbench.evaluate("brightness", "darker", 0.05, data=(x, y), plugins=[path])
    assert result.clean_accuracy == 1.0
    dark = (x - 0.05).clamp(0, 1).mean(1) > 0.1
    assert result.robust_accuracy == pytest.approx(float((dark.long() == y).double().mean()))
    assert qbench.load_model("brightness", plugins=[path])(x).shape == (50, 2)


def test_certificates_agree_with_a_known_margin_and_with_attacks():
    x, y = few(4)
    proved = qbench.certify("convnet", (x, y), certifier="convnet-linear", eps=[0.02, 0.1])
    assert set(proved.certifier) == {"convnet-linear"}
    assert proved.confidence == 1.0
    broken = qbench.evaluate("convnet", "pgd", 0.1, data=(x, y)).per_image
    fooled = broken["adversarial_prediction"] != broken["label"]
    assert not (fooled & (proved.radius.numpy() >= 0.1)).any()
    assert proved.certified_accuracy(0.02) == float((proved.radius >= 0.02).double().mean()) > 0
    assert proved.to_pandas().radius.tolist() == proved.radius.tolist()


def test_costly_certifiers_run_only_by_name(monkeypatch):
    def run(self, model, x, *_):
        assert self.nodes == 0, "a costly certifier ran"
        return Radii(torch.zeros(len(x), dtype=torch.float64))

    monkeypatch.setattr(Linear, "__call__", run)
    assert qbench.certify("convnet", few(2), eps=0.01).norm == "linf"
    with pytest.raises(AssertionError, match="a costly certifier ran"):
        qbench.certify("convnet", few(2), certifier="convnet-branching", eps=0.01)


def test_what_shots_count_is_certified_by_name_alone():
    images = few(6)
    options = {"certifier": "counts", "eps": [0.005, 0.01, 0.02]}
    found = qbench.certify("reup-hw4@statevector:100000", images, **options)
    beside = qbench.certify("reup-hw4", images, engine="statevector", shots=100_000, **options)
    attacked = qbench.evaluate("reup-hw4", "pgd", 0.02, data=images).per_image
    assert torch.equal(found.radius, beside.radius)
    assert found.confidence == 0.999
    assert found.certified_accuracy(0.01) >= 0.5
    kept = attacked["adversarial_prediction"] == attacked["label"]
    assert kept[found.radius >= 0.02].all()
    with pytest.raises(UsageError, match="counts certifies what is counted: give shots"):
        qbench.certify("reup-hw4", images, **options)
    with pytest.raises(UsageError, match="certify reup-hw4"):
        qbench.certify("reup-hw4", images, shots=100)
    with pytest.raises(
        Unsupported, match=r"counts does not cover .*: certificates from counts need"
    ):
        qbench.certify("convnet", images, shots=100, **options)
    with pytest.raises(Unsupported, match=r"counts does not cover .*take at most 1000000 shots"):
        qbench.certify("reup-hw4", images, shots=10**8, **options)
    placed = qbench.load_model("reup-hw4@statevector:100000")
    assert qbench.certify(placed, images, **options).radius.max() > 0
    few_shots = qbench.load_model("reup-hw4@statevector:20")  # a draw of a draw counts nothing
    with pytest.raises(UsageError, match="has shots already: leave shots out"):
        qbench.certify(few_shots, images, shots=10**6, **options)
    with pytest.raises(UsageError, match="has shots already"):
        qbench.evaluate(few_shots, data=images, shots=100)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"engine": "own"}, "'own'"),
        ({"engine": "statevector:100"}, "takes no device, got 'statevector:100'"),
        ({"shots": -5}, ": -5 shots; give at least 1"),
        ({"engine": "statevector", "shots": -5}, "-5 shots; give at least 1"),
    ],
)
def test_where_certificates_are_asked_for_is_read_as_evaluate_reads_it(options, reason):
    with pytest.raises(QbenchError, match=reason):
        qbench.certify("reup-hw4", few(1), certifier="counts", **options)
    with pytest.raises(QbenchError, match=reason):
        qbench.evaluate("reup-hw4", data=few(1), **options)
    with pytest.raises(Unsupported, match="no circuit that a qbench engine could run"):
        qbench.certify("convnet", few(1), engine="statevector")


def test_smoothing_certifies_any_model_by_name():
    # Of a linear score the smoothed class is the class itself, and its ℓ2 radius the distance to
    # the boundary: |z| / ‖w‖ (Cohen et al. 2019, Prop. 4 with σ large enough to see both classes).
    x = torch.tensor([[0.9, 0.9], [0.2, 0.1]])
    model = lambda x: torch.stack([1 - x.sum(-1), x.sum(-1) - 1], -1)  # noqa: E731
    found = qbench.certify(model, (x, [1, 0]), certifier="smoothing", norm="l2", samples=20_000)
    distance = (x.sum(1) - 1).abs() / 2**0.5
    assert found.smoothed
    assert (found.radius <= distance).all()
    assert (found.radius >= 0.85 * distance).all()
    exact = qbench.certify(model, (x, [1, 0]), norm="l2").radius  # `linear-exact`
    torch.testing.assert_close(exact.float(), distance, rtol=1e-4, atol=0)
    curved = lambda x: model(x**2)  # noqa: E731
    with pytest.raises(Unsupported, match="no certifier covers function <lambda>: name one that"):
        qbench.certify(curved, (x, [0, 0]))


def test_there_is_nothing_else():
    assert {"load_model", "load_dataset", "load_published", "results"} <= set(dir(qbench))
    assert {"adapt", "certify", "evaluate"} <= set(dir(qbench))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = qbench.nonsense
