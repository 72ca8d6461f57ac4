"""The zoo's models are exactly those of PROTOCOL: PennyLane, formulas and published checkpoints."""

from functools import partial

import numpy as np
import pennylane as qml
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

import qbench
from qbench.circuits.torch_engine import TorchEngine
from qbench.datasets.base import Dataset, Split
from qbench.errors import DataError, WeightsError
from qbench.evaluation.training import train
from qbench.registry import load_registry
from qbench.specs import Recipe
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo
from qbench_certificates.reupload.circuit_bound import CircuitBound
from qbench_classical.models import ConvNet, Fourier, PatchNetwork
from qbench_engines.statevector import StatevectorEngine
from qbench_quantum.models import Amplitude, ReUpload
from qbench_quantum.quanvolution import Quanvolution

MODELS = {"reup": ReUpload, "amplitude": Amplitude, "convnet": ConvNet, "fourier": Fourier}


@pytest.mark.parametrize(
    ("name", "count", "trained"),
    [
        ("reup", 1536, 1536),
        ("reup-fixed", 1536, 768),
        ("amplitude", 768, 768),
        ("convnet", 1024, 1024),
        ("fourier", 8448, 8448),
        ("quanvolution", 24 + 1028, 24 + 1028),  # the circuit, and the same linear layer
        ("quanvolution-cnn", 20 + 1028, 20 + 1028),
    ],
)
def test_parameter_counts(name, count, trained):
    parameters = list(load_registry().get("model", name).create().parameters())
    assert sum(p.numel() for p in parameters) == count
    assert sum(p.numel() for p in parameters if p.requires_grad) == trained


@pytest.mark.parametrize("name", ["reup", "amplitude"])
def test_quantum_parameters_start_small_and_positive(name):
    for parameter in MODELS[name]().parameters():
        assert 0 <= parameter.min() < 1e-3 < 9e-3 < parameter.max() < 0.01


@qml.qnode(qml.device("default.qubit", wires=8), interface="torch", diff_method="backprop")
def pennylane_circuit(angles, state=None):
    if state is not None:
        qml.AmplitudeEmbedding(state, wires=range(8))
    qml.StronglyEntanglingLayers(angles, wires=range(8))
    return [qml.expval(qml.PauliZ(k)) for k in range(4)]


def pennylane_reup(model, x):
    angles = model.w * x.repeat(1, 3).reshape(-1, 32, 8, 3) + model.theta
    return torch.stack([torch.stack(pennylane_circuit(one)) for one in angles])


def pennylane_amplitude(model, x):
    states = x / x.norm(dim=1, keepdim=True)
    return torch.stack([torch.stack(pennylane_circuit(model.theta, one)) for one in states])


@pytest.mark.parametrize(
    ("build", "reference"), [(ReUpload, pennylane_reup), (Amplitude, pennylane_amplitude)]
)
def test_circuits_agree_with_pennylane_in_values_and_all_gradients(build, reference):
    torch.manual_seed(0)
    model = build(engine=TorchEngine()).double()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, -3, 3)
    x = torch.rand(2, 256, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 4, dtype=torch.float64)
    ours, theirs = model(x), reference(model, x)
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    leaves = [x, *model.parameters()]
    our_gradients = torch.autograd.grad((ours * weights).sum(), leaves)
    their_gradients = torch.autograd.grad((theirs * weights).sum(), leaves)
    for a, b in zip(our_gradients, their_gradients, strict=True):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


@pytest.mark.parametrize("build", [ReUpload, Amplitude])
def test_the_default_engine_agrees_with_the_reference(build):
    torch.manual_seed(0)
    fast = build()
    for parameter in fast.parameters():
        torch.nn.init.uniform_(parameter, -3, 3)
    exact = build(engine=TorchEngine()).double()
    exact.load_state_dict(fast.state_dict())
    x = torch.rand(7, 256, requires_grad=True)
    x64 = x.detach().double().requires_grad_()
    ours, reference = fast(x), exact(x64)
    torch.testing.assert_close(ours.double(), reference, atol=2e-6, rtol=0)
    (gradient,) = torch.autograd.grad(ours[:, 1].sum(), x)
    (expected,) = torch.autograd.grad(reference[:, 1].sum(), x64)
    scale = expected.abs().max().item()
    torch.testing.assert_close(gradient.double(), expected, atol=1e-5 * scale, rtol=0)


def test_the_regulariser_is_the_papers():
    model = ReUpload()
    expected = sum((w / 2) ** 2 for w in model.w.detach().double().flatten().tolist())
    assert model.regularisation().item() == pytest.approx(expected, rel=1e-5)


def test_the_grouped_penalty_bounds_how_far_the_state_turns():
    model = ReUpload(penalty="grouped")
    expected = sum(abs(w) for w in model.w.detach().double().flatten().tolist()) ** 2
    assert model.regularisation().item() == pytest.approx(expected, rel=1e-5)


def bound_by_hand(model):
    """Sum over the classes of the ℓ∞ bounds of their scores, one number at a time."""
    w = {name: value.double().tolist() for name, value in model.state_dict().items()}
    total = 0.0
    if isinstance(model, ConvNet):
        norms = [sum(abs(v) for row in kernel[0] for v in row) for kernel in w["conv.weight"]]
        for row in w["linear.weight"]:
            total += sum(abs(v) * norms[j // 36] for j, v in enumerate(row))  # 6x6 units a channel
        return total
    for sine, cosine in zip(w["sine.weight"], w["cosine.weight"], strict=True):
        for i, frequencies in enumerate(w["frequencies.weight"]):
            total += np.hypot(sine[i], cosine[i]) * sum(abs(v) for v in frequencies)
    return total


@pytest.mark.parametrize("build", [ConvNet, Fourier])
@pytest.mark.parametrize("seed", range(3))
def test_the_classical_penalty_is_the_square_of_a_bound_on_the_scores(build, seed):
    torch.manual_seed(seed)
    model = build()
    bound = bound_by_hand(model)
    assert model.regularisation().item() == pytest.approx(bound**2, rel=1e-5)
    model, x = model.double(), torch.rand(50, 256, dtype=torch.float64)
    for eps in (0.01, 0.3):
        delta = eps * torch.sign(torch.randn(50, 256, dtype=torch.float64))
        moved = (model(x + delta) - model(x)).abs().sum(1)
        assert 0 < moved.max() <= eps * bound


def test_the_classical_penalty_is_reached_where_nothing_cancels():
    # One unit, one score: the bound is the score's slope along the sign of the weights.
    network = Fourier(features=3, neurons=1, classes=1).double()
    torch.nn.init.zeros_(network.cosine.weight)
    delta = 1e-6 * network.frequencies.weight.sign()
    moved = (network(delta) - network(torch.zeros(1, 3).double())).abs().item() / 1e-6
    assert network.regularisation().sqrt().item() == pytest.approx(moved, rel=1e-6)
    convolution = ConvNet((6, 6), classes=1).double()
    with torch.no_grad():
        convolution.conv.weight[0].abs_()
        convolution.conv.bias.fill_(1.0)
        convolution.linear.weight[:, 1:] = 0
    x = torch.zeros(1, 36).double()
    moved = (convolution(x + 0.1) - convolution(x)).abs().item() / 0.1
    assert convolution.regularisation().sqrt().item() == pytest.approx(moved, rel=1e-6)


@pytest.mark.parametrize(
    "model", [ReUpload(penalty="grouped"), ConvNet(), Fourier()], ids=lambda m: type(m).__name__
)
def test_penalties_have_finite_gradients_even_where_weights_are_zero(model):
    for fill in (None, 0.0):
        for parameter in model.parameters():
            if fill is not None:
                torch.nn.init.constant_(parameter, fill)
        model.zero_grad()
        model.regularisation().backward()
        found = [p.grad for p in model.parameters() if p.grad is not None]
        assert found
        assert all(bool(gradient.isfinite().all()) for gradient in found)


def test_the_amplitude_model_is_four_quadratic_forms():
    model = Amplitude(features=32, layers=4, classes=3).double()
    torch.nn.init.uniform_(model.theta, -3, 3)
    forms, x = model.quadratic_forms(), torch.rand(6, 32, dtype=torch.float64)
    assert forms.shape == (3, 32, 32)
    unit = x / x.norm(dim=1, keepdim=True)
    expected = torch.einsum("ni,kij,nj->nk", unit, forms, unit)
    torch.testing.assert_close(model(x), expected, atol=1e-12, rtol=0)


@qml.qnode(qml.device("default.qubit", wires=4), interface="torch", diff_method="backprop")
def pennylane_patch(pixels, theta):
    for wire in range(4):
        qml.RY(torch.pi * pixels[wire], wires=wire)
    for wire in range(4):
        qml.CNOT(wires=[wire, (wire + 1) % 4])
    qml.StronglyEntanglingLayers(theta, wires=range(4), ranges=(2, 3))
    return [qml.expval(qml.PauliZ(wire)) for wire in range(4)]


def patches_by_hand(image):
    """The pixels of each 2x2 patch, row by row; beyond the image they are 0."""
    rows, columns = image.shape
    zero = image.new_zeros(())
    return [
        [
            image[r + i, c + j] if r + i < rows and c + j < columns else zero
            for i in (0, 1)
            for j in (0, 1)
        ]
        for r in range(0, rows, 2)
        for c in range(0, columns, 2)
    ]


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
@pytest.mark.parametrize("engine", [TorchEngine(), StatevectorEngine()], ids=["torch", "fast"])
def test_the_quanvolution_agrees_with_pennylane_in_values_and_all_gradients(shape, engine):
    torch.manual_seed(0)
    model = Quanvolution(shape, classes=3, engine=engine).double()
    x = torch.rand(2, shape[0] * shape[1], dtype=torch.float64, requires_grad=True)

    def reference(image):
        each = [pennylane_patch(p, model.theta) for p in patches_by_hand(image.view(shape))]
        maps = torch.stack([torch.stack(one) for one in each]).T  # channel by channel
        return model.linear.weight @ maps.flatten() + model.linear.bias

    ours, theirs = model(x), torch.stack([reference(image) for image in x])
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)
    weights, leaves = torch.randn(2, 3, dtype=torch.float64), [x, *model.parameters()]
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), leaves),
        torch.autograd.grad((theirs * weights).sum(), leaves),
        strict=True,
    ):
        assert b.abs().max() > 1e-3
        torch.testing.assert_close(a, b, atol=1e-10, rtol=0)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5)])
def test_the_twin_of_the_quanvolution_by_hand(shape):
    model = PatchNetwork(shape, classes=3).double()
    x = torch.rand(1, shape[0] * shape[1], dtype=torch.float64)
    kernels = model.conv.weight.flatten(1)
    pixels = torch.stack([torch.stack(p) for p in patches_by_hand(x.view(shape))])
    maps = torch.tanh(pixels @ kernels.T + model.conv.bias).T
    torch.testing.assert_close(model(x)[0], model.linear(maps.flatten()))


def test_the_quanvolution_and_its_twin_have_maps_of_one_form():
    quantum, classical = Quanvolution(), PatchNetwork()
    x = torch.rand(3, 256)
    maps = torch.tanh(classical.conv(x.view(-1, 1, 16, 16))).flatten(2)
    assert quantum.maps(x).shape == maps.shape == (3, 4, 64)
    assert quantum.maps(x).abs().max() <= 1 + 1e-6
    assert quantum.linear.weight.shape == classical.linear.weight.shape


def trained_briefly(penalty_weight, **about):
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.rand(40, 6, generator=generator), torch.arange(40) % 2)
    dataset = Dataset("d", 1, "0" * 64, None, ("a", "b"), split, split)
    recipe = Recipe(epochs=3, batch_size=10, learning_rate=0.05, regularisation=penalty_weight)
    return train(partial(ReUpload, features=6, classes=2, layers=2, **about), dataset, recipe, 0)[0]


@pytest.mark.parametrize("penalty", ["squares", "grouped"])
def test_a_penalty_changes_a_trained_encoding_and_no_fixed_one(penalty):
    fixed = [trained_briefly(λ, encoding=0.5, penalty=penalty) for λ in (0.0, 0.1)]
    assert torch.equal(fixed[0].theta, fixed[1].theta)
    assert all(bool((model.w == 0.5).all()) for model in fixed)
    free = [trained_briefly(λ, penalty=penalty) for λ in (0.0, 0.1)]
    bounds = [CircuitBound()(model, torch.rand(1, 6)).lipschitz for model in (*fixed, *free)]
    assert bounds[0] == bounds[1]
    assert bounds[3] < 0.9 * bounds[2]


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_of_the_fixed_encoding_is_that_of_every_seed(seed):
    model = load_registry().get("model", "reup-fixed").create()
    load_into(model, unpack(Zoo().read("reup-fixed", seed), "reup-fixed")[0].weights, "reup-fixed")
    # 256 gates, each with three weights of ½ on three pixels.
    bound = CircuitBound()(model, torch.rand(1, 256)).lipschitz
    assert bound == pytest.approx(256 * 3**0.5 / 2, rel=1e-9)


def test_an_all_zero_image_has_no_amplitude_encoding():
    x = torch.rand(3, 256)
    x[1] = 0
    with pytest.raises(DataError, match="image 1 is all zero"):
        Amplitude()(x)
    x[1] = torch.nan
    with pytest.raises(DataError, match="image 1"):
        Amplitude()(x)


def test_the_convnet_by_hand():
    model = ConvNet()
    x = torch.rand(1, 256)
    image, kernel = x.view(16, 16), model.conv.weight[2, 0]
    # one unit: channel 2, pooled over rows 4-5 and columns 6-7
    conv = [(image[r : r + 5, c : c + 5] * kernel).sum() for r in (4, 5) for c in (6, 7)]
    unit = torch.relu(torch.stack(conv) + model.conv.bias[2]).max()
    pooled = model.pool(torch.relu(model.conv(x.view(1, 1, 16, 16))))
    torch.testing.assert_close(pooled[0, 2, 2, 3], unit)
    torch.testing.assert_close(model(x), model.linear(pooled.flatten(1)))


def test_the_fourier_network_by_hand():
    model, x = Fourier(), torch.rand(5, 256)
    z = x @ model.frequencies.weight.T
    expected = torch.sin(z) @ model.sine.weight.T + torch.cos(z) @ model.cosine.weight.T
    torch.testing.assert_close(model(x), expected)


@pytest.fixture(scope="module")
def first_hundred(published):
    """The images of protocol wendlinger2024, read from the authors' PNGs."""
    folders = sorted((published / "dataset" / "dataset_train").iterdir())
    files = [path for folder in folders for path in sorted(folder.iterdir(), key=lambda p: p.name)]
    labels = np.array([int(path.parent.name[-1]) for path in files])
    pixels = np.stack([np.asarray(Image.open(path).convert("L")) for path in files])
    order = np.random.default_rng(123401234).permutation(len(files))[:100]
    x = pixels[order, 1:17, 1:17].reshape(100, 256).astype(np.float32) / 255
    return torch.from_numpy(x), torch.from_numpy(labels[order])


@pytest.mark.parametrize(
    ("model", "file", "entropy", "accuracy"),
    [
        ("reup", "QVC-ReUp-8-32-0_0-ep20", 0.8978896, 0.97),
        ("amplitude", "QVC-Amp-8-32-0_0-ep20", 0.9936860, None),
    ],
)
def test_published_checkpoints_score_as_published(
    published, first_hundred, model, file, entropy, accuracy
):
    ours = qbench.load_published(model, published / "model_checkpoints" / file)
    x, y = first_hundred
    scores = ours(x)
    assert cross_entropy(scores, y).item() == pytest.approx(entropy, abs=1e-5)
    if accuracy is not None:
        assert (scores.argmax(1) == y).float().mean().item() == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.parametrize(
    ("model", "file", "dtype"),
    [
        ("convnet", "ConvNet-single-layer-0_0reg-ep20", torch.float32),
        ("fourier", "Fourier-32-neurons-0_0reg-ep20", torch.float64),
        ("reup", "QVC-ReUp-8-32-0_0-ep100", torch.float32),
    ],
)
def test_every_published_checkpoint_loads_and_classifies(
    published, first_hundred, model, file, dtype
):
    ours = qbench.load_published(model, published / "model_checkpoints" / file)
    assert {p.dtype for p in ours.parameters()} == {dtype}
    x, y = first_hundred
    assert (ours(x).argmax(1) == y).float().mean() >= 0.95


def test_checkpoints_that_do_not_fit_are_refused(published, tmp_path):
    with pytest.raises(WeightsError, match="no published convnet checkpoint"):
        qbench.load_published("convnet", published / "model_checkpoints" / "QVC-Amp-8-32-0_0-ep20")
    with pytest.raises(WeightsError, match="cannot read"):
        qbench.load_published("convnet", tmp_path / "none")


def fourier_checkpoint(path, seed=0, dtype=torch.float64):
    """A checkpoint of a sine network in the authors' names, and its three matrices."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"encoding_layer": (32, 256), "linear_sin": (4, 32), "linear_cos": (4, 32)}
    state = {
        f"{name}.weight": 0.2 * torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    torch.save({name: value.to(dtype) for name, value in state.items()}, path)
    return [state[name].numpy() for name in state]


def test_a_checkpoint_in_double_precision_takes_images_in_single(tmp_path):
    w, s, c = fourier_checkpoint(tmp_path / "fourier")
    model = qbench.load_published("fourier", tmp_path / "fourier")
    x = torch.rand(5, 256, requires_grad=True)
    scores, pixels = model(x), x.detach().double().numpy()
    z = pixels @ w.T
    assert scores.dtype == torch.float64
    np.testing.assert_allclose(scores.detach(), np.sin(z) @ s.T + np.cos(z) @ c.T, atol=1e-12)
    (gradient,) = torch.autograd.grad(scores[:, 2].sum(), x)
    expected = (np.cos(z) * s[2] - np.sin(z) * c[2]) @ w
    assert gradient.dtype == torch.float32
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)
    # In single precision it would be off by more than that.
    assert abs(scores.detach() - model.float()(x).detach().double()).max() > 1e-8


def test_a_checkpoint_in_double_precision_is_evaluated_and_certified(tmp_path):
    evaluated, certified = {}, {}
    for dtype in (torch.float64, torch.float32):
        fourier_checkpoint(tmp_path / "fourier", dtype=dtype)
        model = qbench.load_published("fourier", tmp_path / "fourier")
        x = torch.rand(20, 256, generator=torch.Generator().manual_seed(1))
        data = x, model(x).argmax(1)
        evaluated[dtype] = qbench.evaluate(model, "pgd", 0.003, data=data)
        certified[dtype] = qbench.certify(model, data, certifier="fourier-lipschitz").radius
    one, other = evaluated.values()
    assert one.x_adv.dtype == other.x_adv.dtype == torch.float32
    assert 0 < one.robust_accuracy == other.robust_accuracy < 1
    one, other = certified.values()
    assert one.min() > 0
    assert (other <= one).all()  # single precision has more rounding to pay for
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda state: state | {"more": torch.zeros(1)}, "is no published fourier checkpoint"),
        (lambda state: {}, "is no published fourier checkpoint: it holds nothing"),
        (
            lambda state: state | {"linear_sin.weight": torch.zeros(4, 31)},
            r"'sine.weight' has shape \(4, 31\), the model's has \(4, 32\)",
        ),
        (
            lambda state: state | {"linear_sin.weight": torch.zeros(4, 32, dtype=torch.int64)},
            "'sine.weight' is torch.int64",
        ),
        (lambda state: {k: v.to(torch.complex64) for k, v in state.items()}, "torch.complex64"),
        (lambda state: {k: v / 0 for k, v in state.items()}, "is not finite"),
        (lambda state: list(state.values()), "hold no state dict but a list"),
    ],
)
def test_a_checkpoint_that_holds_something_else_is_refused(tmp_path, change, complaint):
    path = tmp_path / "fourier"
    fourier_checkpoint(path)
    torch.save(change(torch.load(path, weights_only=True)), path)
    with pytest.raises(WeightsError, match=complaint) as raised:
        qbench.load_published("fourier", path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_model_without_published_checkpoint_has_none(tmp_path):
    with pytest.raises(WeightsError, match="published no checkpoint of reup-hw4"):
        qbench.load_published("reup-hw4", tmp_path / "any")


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    torch.save({"conv.0.weight": Evil()}, tmp_path / "evil")
    with pytest.raises(WeightsError, match="could run code and is not read"):
        qbench.load_published("convnet", tmp_path / "evil")
    assert not (tmp_path / "pwned").exists()
