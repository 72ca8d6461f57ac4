import gzip
import hashlib
import http.server
import threading

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import qbench
from qbench.datasets import files, mnist4, plus_minus, scikit
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


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def mnist(tmp_path, monkeypatch):
    hashes = {}
    for name in mnist4.FILES:
        n = 4000 if "train" in name else 700
        array = np.arange(n) % 10
        if "images" in name:  # the upper half is lit, by class
            array = (55 + 20 * array)[:, None, None] * (np.arange(28) < 14)[None, :, None]
            array = array.repeat(28, axis=2)
        content = idx(array.astype(np.uint8))
        (tmp_path / name).write_bytes(content)
        hashes[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(mnist4, "FILES", hashes)
    monkeypatch.setenv("QBENCH_MNIST", str(tmp_path))
    return tmp_path


def test_mnist_from_idx_files(mnist):
    data = mnist4.load()
    assert data.train.y.bincount().tolist() == [250] * 4
    assert data.test.y.bincount().tolist() == [50] * 4
    assert data.train.y[:8].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert data.train.x.shape == (1000, 256)
    # Resizing and cropping keep what is constant, and the edge in the middle.
    images = (data.train.x * 255).view(-1, 16, 16)[:4]
    for label in range(4):
        torch.testing.assert_close(images[label, :7], torch.full((7, 16), 55.0 + 20 * label))
        assert (images[label, 9:] == 0).all()
    torch.testing.assert_close(images, images.round())  # 8 bits


def test_other_files_than_mnists_are_refused(mnist):
    (mnist / "t10k-labels-idx1-ubyte.gz").write_bytes(b"other")
    with pytest.raises(DataError, match=r"is not the standard t10k-labels-idx1-ubyte.gz: SHA-256"):
        mnist4.load()


def test_offline_says_where_to_put_the_files(mnist, monkeypatch):
    (mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setattr(mnist4, "MIRROR", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=f"cannot download .* into {mnist} yourself"):
        mnist4.load()


def test_a_download_that_breaks_off_is_one_line_too(mnist, monkeypatch):
    class Short(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"x" * 10)

        def log_message(self, *_):
            pass

    (mnist / "t10k-labels-idx1-ubyte.gz").unlink()
    with http.server.HTTPServer(("127.0.0.1", 0), Short) as server:
        thread = threading.Thread(target=server.handle_request, daemon=True)
        thread.start()
        monkeypatch.setattr(mnist4, "MIRROR", f"http://127.0.0.1:{server.server_port}/")
        with pytest.raises(DataError, match=r"cannot download .*IncompleteRead"):
            mnist4.load()
        thread.join()
    assert not (mnist / "t10k-labels-idx1-ubyte.gz").exists()


def test_a_download_is_checked_and_kept(mnist, monkeypatch):
    name = "t10k-labels-idx1-ubyte.gz"
    content = (mnist / name).read_bytes()
    source = mnist / "mirror"
    source.mkdir()
    (mnist / name).rename(source / name)
    monkeypatch.setattr(mnist4, "MIRROR", source.as_uri() + "/")
    mnist4.load()
    assert (mnist / name).read_bytes() == content
    (mnist / name).unlink()
    (source / name).write_bytes(b"tampered")
    with pytest.raises(DataError, match="the download is not the standard"):
        mnist4.load()
    assert not (mnist / name).exists()


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
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
