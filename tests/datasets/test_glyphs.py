import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

import qbench
from qbench.datasets import glyphs
from qbench.datasets.base import Dataset, Split, check_images
from qbench.errors import DataError
from qbench.evaluation.training import train
from qbench.specs import Recipe
from qbench_classical.models import ConvNet

# Statistics of the published training images (docs/data.md), classes - + ⊢ ⊣ in order.
PUBLISHED = {
    "mean pixel": (0.1139, 0.2073, 0.1594, 0.1563),
    "std of the image mean": (0.0317, 0.0563, 0.0436, 0.0431),
    "maximum, 5 %": (0.439, 0.695, 0.607, 0.602),
    "maximum, median": (0.782, 0.935, 0.875, 0.876),
    "maximum, 95 %": (0.987, 1.0, 1.0, 1.0),
    "pixels above 0.1, 5 %": (43.45, 76.45, 58.9, 59.0),
    "pixels above 0.1, median": (58.0, 105.0, 82.0, 80.5),
    "pixels above 0.1, 95 %": (74.0, 127.0, 100.55, 98.0),
}


def statistics(images: np.ndarray) -> dict[str, float]:
    """The statistics of PUBLISHED for images (n, features) of one class."""
    mean, top, lit = images.mean(1), images.max(1), (images > 0.1).sum(1)
    values = [mean.mean(), mean.std(), *np.percentile(top, [5, 50, 95])]
    return dict(zip(PUBLISHED, [*values, *np.percentile(lit, [5, 50, 95])], strict=True))


def test_the_generator_reproduces_the_frozen_file():
    arrays = glyphs.generate()
    with np.load(glyphs.FILE) as frozen:
        assert set(frozen) == set(arrays)
        for name, array in arrays.items():
            assert array.dtype == np.uint8
            np.testing.assert_array_equal(frozen[name], array)
    # byte for byte, compression and all
    assert hashlib.sha256(glyphs.encode(arrays)).hexdigest() == glyphs.SHA256


def test_shapes_balance_and_range():
    data = qbench.load_dataset("glyphs")
    assert data.train.x.shape == (1000, 256)
    assert data.test.x.shape == (200, 256)
    assert data.train.y.bincount().tolist() == [250] * 4
    assert data.test.y.bincount().tolist() == [50] * 4
    assert data.train.y[:20].tolist() != sorted(data.train.y[:20].tolist())
    for split in (data.train, data.test):
        assert split.x.dtype == torch.float32
        assert split.x.min() == 0
        assert split.x.max() == 1
        torch.testing.assert_close(split.x * 255, (split.x * 255).round(), atol=1e-4, rtol=0)
        assert (split.x == 0).float().mean() > 0.3  # the background is exactly 0
    assert len(torch.unique(torch.cat([data.train.x, data.test.x]), dim=0)) == 1200


def test_a_drawn_image_shows_its_class():
    data = qbench.load_dataset("glyphs")
    images = data.train.x.view(-1, 16, 16)
    for label, (left, right, vertical) in enumerate([(1, 1, 0), (1, 1, 1), (0, 1, 1), (1, 0, 1)]):
        mean = images[data.train.y == label].mean(0)
        # bars reach the border: the middle of each edge is lit or dark
        assert (mean[6:10, 0].max() > 0.2) == bool(left)
        assert (mean[6:10, 15].max() > 0.2) == bool(right)
        assert (mean[0, 6:10].max() > 0.2) == bool(vertical)


@pytest.mark.parametrize("statistic", PUBLISHED)
def test_statistics_lie_within_15_percent_of_the_published_ones(statistic):
    data = qbench.load_dataset("glyphs")
    x, y = data.train.x.numpy(), data.train.y.numpy()
    for label in range(4):
        ours = statistics(x[y == label])[statistic]
        assert ours == pytest.approx(PUBLISHED[statistic][label], rel=0.15)


def test_a_changed_byte_is_named_by_its_hash(tmp_path, monkeypatch):
    content = bytearray(glyphs.FILE.read_bytes())
    content[1000] ^= 1
    changed = tmp_path / "glyphs-v1.npz"
    changed.write_bytes(content)
    monkeypatch.setattr(glyphs, "FILE", changed)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match=f"{changed} was changed: SHA-256 is {found}, pinned is"):
        glyphs.load()
    changed.unlink()
    with pytest.raises(DataError, match="cannot read"):
        glyphs.load()


def ones(**changes):
    x, y = torch.full((3, 4), 0.5), torch.tensor([0, 1, 1])
    for index, value in changes.get("pixels", {}).items():
        x[index] = value
    return changes.get("x", x), changes.get("y", y)


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"pixels": {(1, 2): 1.25}}, r"image 1 \(1 in all\) has the pixel 1.25, outside \[0, 1\]"),
        ({"pixels": {(2, 0): -0.5}}, "image 2 .* has the pixel -0.5"),
        ({"pixels": {(0, 0): torch.nan}}, "image 0 .* has the pixel nan"),
        ({"x": torch.zeros(3, 5)}, r"shape \(n, 4\), got torch.float32 of shape \(3, 5\)"),
        ({"x": torch.zeros(3, 2, 2)}, r"got torch.float32 of shape \(3, 2, 2\)"),
        ({"x": torch.zeros(3, 4, dtype=torch.uint8)}, "got torch.uint8"),
        ({"x": torch.zeros(0, 4), "y": torch.zeros(0, dtype=torch.int64)}, r"\(0, 4\)"),
        ({"y": torch.tensor([0, 1])}, r"labels must be integers of shape \(3,\)"),
        ({"y": torch.tensor([0.0, 1, 1])}, "got torch.float32"),
        ({"y": torch.tensor([0, 2, 1])}, "image 1 has the label 2: there are 2 classes"),
        ({"y": torch.tensor([0, -1, 1])}, "has the label -1"),
    ],
)
def test_images_that_no_model_should_see(bad, complaint):
    with pytest.raises(DataError, match=complaint):
        check_images(*ones(**bad), 4, 2)


@pytest.fixture(scope="module")
def theirs(published) -> Dataset:
    splits = {}
    for split in ("train", "test"):
        files = sorted((published / "dataset" / f"dataset_{split}").glob("class_*/*.png"))
        pixels = np.stack([np.asarray(Image.open(f).convert("L"))[1:17, 1:17] for f in files])
        labels = torch.tensor([int(f.parent.name[-1]) for f in files])
        x = torch.from_numpy(pixels.reshape(len(files), -1).astype(np.float32) / 255)
        splits[split] = Split(x, labels)
    return Dataset("published", 1, "", (16, 16), glyphs.CLASSES, **splits)


def test_the_table_is_what_the_published_images_give(theirs):
    for label in range(4):
        found = statistics(theirs.train.x[theirs.train.y == label].numpy())
        for name, value in found.items():
            assert value == pytest.approx(PUBLISHED[name][label], abs=6e-3 * max(1, value))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_convnet_trained_on_either_set_reads_the_other(theirs, seed):
    ours = qbench.load_dataset("glyphs")
    for here, there in ((ours, theirs), (theirs, ours)):
        model, _ = train(ConvNet, here, Recipe(epochs=20), seed)
        correct = model(there.test.x).argmax(1) == there.test.y
        accuracy = correct.float().mean().item()
        print(f"\nseed {seed}: trained on {here.name}, tested on {there.name}: {accuracy:.3f}")
        assert accuracy >= 0.97
