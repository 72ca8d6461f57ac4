"""Data sets by name: first-party ones, parameters in a name, and what plugins hand in."""

import numpy as np
import pytest
import torch

import qbench
from qbench.datasets import glyphs
from qbench.datasets.base import load_data
from qbench.errors import DataError, PluginError, UnknownNameError, UsageError
from qbench.plugin_files import PluginFile
from qbench.records.identity import Data

GLYPHS = "e5e2179367ad284af30e13c7a8551ccdb0ec47dc433f67758df179962c3a0b8d"  # in records


def test_glyphs_are_what_they_were():
    assert load_data("glyphs").sha256 == GLYPHS


def test_the_usual_parameters_are_no_part_of_a_name():
    data = load_data("glyphs:side=16")
    assert (data.name, data.sha256) == ("glyphs", GLYPHS)


def test_glyphs_of_another_side_are_means_over_squares():
    whole, half = load_data("glyphs"), load_data("glyphs:side=8")
    assert (half.name, half.image_shape, half.features) == ("glyphs:side=8", (8, 8), 64)
    assert half.sha256 != whole.sha256
    for split, small in (
        (whole.train, half.train),
        (whole.test, half.test),
        (whole.fresh(12), half.fresh(12)),
    ):
        images = split.x.double().view(-1, 1, 16, 16)
        expected = torch.nn.functional.avg_pool2d(images, 2).flatten(1)
        torch.testing.assert_close(small.x.double(), expected, rtol=0, atol=1e-7)
        assert torch.equal(split.y, small.y)


def test_reduced_glyphs_have_the_values_that_a_sum_of_integers_gives():
    with np.load(glyphs.FILE) as arrays:
        first = arrays["x_train"][0].astype(int)
    corner = np.float32(first[:4, :4].sum()) / np.float32(16 * 255)
    assert load_data("glyphs:side=4").train.x[0, 0].item() == corner


@pytest.mark.parametrize(
    ("name", "error", "complaint"),
    [
        ("glyphs:side=7", DataError, "'glyphs': side must be 2, 4, 8 or 16, got 7"),
        ("glyphs:side=8.0", DataError, "got 8.0"),
        ("glyphs:side=true", DataError, "got True"),
        ("glyphs:size=8", DataError, "'glyphs': it has no parameter 'size': it takes side"),
        ("iris:side=8", DataError, "'iris': it has no parameter 'side': it takes none"),
        ("glyphs:8", UsageError, "data set 'glyphs:8': write NAME:PARAMETER=VALUE"),
        ("glyph:side=8", UnknownNameError, "unknown dataset 'glyph': did you mean glyphs"),
    ],
)
def test_a_parameter_that_there_is_not(name, error, complaint):
    with pytest.raises(error, match=complaint):
        load_data(name)


def test_records_hold_the_name_with_its_parameters():
    about = {"sha256": "0" * 64, "split": "test", "images": 1}
    assert Data(name="glyphs:side=8", **about).name == "glyphs:side=8"
    for name in ("glyphs side", "../glyphs", "", "glyphs\n"):
        with pytest.raises(ValueError, match="should match pattern"):
            Data(name=name, **about)


def test_iris_is_a_table_in_a_declared_range():
    from sklearn.datasets import load_iris

    data, raw = load_data("iris"), load_iris()
    assert (data.image_shape, data.features) == (None, 4)
    assert data.classes == ("setosa", "versicolor", "virginica")
    assert data.train.y.bincount().tolist() == [33] * 3
    assert data.test.y.bincount().tolist() == [17] * 3
    low, high = np.array([4, 2, 1, 0]), np.array([8, 4.5, 7, 2.5])
    back = data.test.x.numpy()[17:34] * (high - low) + low
    np.testing.assert_allclose(back, raw.data[50:67], atol=1e-6)
    every = torch.cat([data.train.x, data.test.x])
    assert len(every) == 150
    assert every.min() >= 0
    assert every.max() <= 1


def test_digits_are_all_ten_of_8x8():
    from sklearn.datasets import load_digits

    data, raw = load_data("digits"), load_digits()
    assert (data.image_shape, len(data.classes)) == ((8, 8), 10)
    assert (len(data.train.y), data.test.y.bincount().tolist()) == (1447, [35] * 10)
    np.testing.assert_array_equal(data.test.x[:10].numpy() * 16, raw.data[:10])
    assert data.test.y[:10].tolist() == list(range(10))


STRANGE = """
import numpy as np
import torch
from qbench.datasets.base import Dataset, Split
from qbench.hookspecs import hookimpl
from qbench.specs import DatasetSpec

@hookimpl
def qbench_datasets():
    yield DatasetSpec(name="strange", description="", factory=f"{__name__}:load")

def load(word="usual", times=1.0):
    generator = torch.Generator().manual_seed(0)
    train = [torch.rand(8, 16, generator=generator), torch.arange(8) % 2]
    test = [torch.rand(4, 16, generator=generator), torch.arange(4) % 2]
    about = dict(name="strange", version=1, sha256="", image_shape=(4, 4), classes=("a", "b"))
    pair = Split
    CHANGE
    return Dataset(**about, train=pair(*train), test=pair(*test))
"""


def strange(tmp_path, change="", name="strange"):
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text(STRANGE.replace("CHANGE", change))
    return load_data(name, (PluginFile.read(path),))


@pytest.mark.parametrize(
    "change",
    [
        "train = [part.numpy() for part in train]",
        "train[0], test[0] = train[0].double(), test[0].double()",
        "train[0] = train[0].reshape(-1, 4, 4)",
        "train[0] = train[0].reshape(-1, 1, 4, 4)",
        "train, test = [[part.tolist() for part in split] for split in (train, test)]",
        "pair = lambda x, y: (x, y)",
        "test[1] = test[1].to(torch.int8)",
        "test[1] = [about['classes'][label] for label in test[1]]",
    ],
)
def test_what_a_plugin_may_as_well_return(tmp_path, change):
    other = strange(tmp_path, change)
    assert other.sha256 == strange(tmp_path).sha256
    assert other.train.x.dtype == torch.float32
    assert other.test.y.dtype == torch.int64


def test_zeros_and_ones_may_be_integers(tmp_path):
    data = strange(tmp_path, "train[0] = (train[0] > 0.5).int()")
    assert set(data.train.x.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("train[0] *= 255", r"train: image 0 \(8 in all\) has the pixel .*, outside \[0, 1\]"),
        ("test[0][3, 5] = torch.nan", r"test: image 3 \(1 in all\) has the pixel nan"),
        ("test[1] = test[1].float()", "test: labels must be 4 integers or names, got float32"),
        ("test[1] = test[1] + 8", "test: image 0 has the label 8: there are 2 classes"),
        ("train[1][0] = -1", "train: image 0 has the label -1"),
        ("test = [part[:0] for part in test]", "test: no images or rows"),
        ("train = [part[:0] for part in train]", "train: no images or rows"),
        ("about['image_shape'] = (2, 2)", "train: image 0 has 16 pixels, where image_shape"),
        (
            "about['image_shape'] = (4, 4, 1)",
            r"its images have shape \(4, 4, 1\): give rows and columns; make",
        ),
        ("about['image_shape'] = 'wide'", "its images have shape 'wide': give rows and columns"),
        ("test[0] = test[0][:, :10]", "test: image 0 has 10 pixels"),
        ("about['image_shape'], test[0] = None, test[0][:, :10]", "test: row 0 has 10 features"),
        ("about['name'] = 'glyphs'", "it calls itself 'glyphs'"),
        ("about['classes'] = ('a',)", "it has 1 class: give 2 to"),
        ("about['classes'] = ('a', 3)", r"classes must be a tuple of names, got \('a', 3\)"),
        ("return None", "its factory made a NoneType, not a Dataset"),
        ("pair = lambda *_: None", "train: a NoneType instead of a Split or a pair"),
        ("pair = lambda x, y: (x, y, 0)", "train: a tuple instead of a Split or a pair"),
        ("pair = lambda x, y: {'x': x, 'y': y}", "train: a dict instead of a Split"),
    ],
)
def test_what_a_plugin_may_not_return(tmp_path, change, complaint):
    with pytest.raises(DataError, match=f"^data set 'strange': {complaint}") as error:
        strange(tmp_path, change)
    assert "\n" not in str(error.value)


def test_a_factory_that_raises_is_named(tmp_path):
    with pytest.raises(PluginError, match=r"cannot make 'strange' .*FileNotFoundError: pngs/train"):
        strange(tmp_path, "raise FileNotFoundError('pngs/train')")


def test_parameters_of_a_plugins_data_set(tmp_path):
    change = "train[0] = train[0] * times"
    assert strange(tmp_path, change, "strange:times=1:word=usual").name == "strange"
    half = strange(tmp_path, change, "strange:times=0.5")
    assert half.name == "strange:times=0.5"
    usual = strange(tmp_path, change)
    assert torch.equal(half.train.x * 2, usual.train.x)
    with pytest.raises(DataError, match="parameters may hold letters, digits"):
        strange(tmp_path, change, "strange:word=/home/me")


def test_a_table_can_be_drawn(tmp_path):
    from qbench.report.figures.samples import table_sheet

    data = load_data("iris")
    figure = table_sheet(data.test.x.numpy(), data.test.y.numpy(), data.classes, data.feature_names)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(data.classes)
    # seventeen flowers of a class and their mean, which is the last line
    assert [len(axes.lines) for axes in figure.axes] == [18] * 3
    setosa = data.test.x[data.test.y == 0].mean(0)
    np.testing.assert_allclose(figure.axes[0].lines[-1].get_ydata(), setosa, rtol=1e-6)
    labels = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert labels == list(data.feature_names)


def test_sheets_from_the_command_line(qbench_cli, tmp_path):
    for name in ("iris", "glyphs:side=8"):
        result = qbench_cli("sheet", name, "sheet.png")
        assert result.returncode == 0
        assert (tmp_path / "sheet.png").stat().st_size > 5000
        (tmp_path / "sheet.png").unlink()
    result = qbench_cli("sheet", "iris:rows=3", "sheet.png")
    assert result.returncode == 2
    assert result.stderr == "error: data set 'iris': it has no parameter 'rows': it takes none\n"


def test_the_public_name():
    assert qbench.Dataset is type(qbench.load_dataset("iris"))
