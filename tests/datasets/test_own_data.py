"""Data of one's own: what comes in, and what is refused in one line."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import qbench
from qbench.datasets.base import Split
from qbench.errors import DataError

ROWS, LABELS = [[4.0, 0.0], [6.0, 5.0], [8.0, 10.0]], ["b", "a", "b"]


def table(x=ROWS, y=LABELS, x_test=((5.0, 2.5),), y_test=("a",), **declared):
    declared = {"feature_range": ((4, 8), (0, 10)), **declared}
    return qbench.Dataset.from_arrays(x, y, x_test, y_test, name="mine", **declared)


def test_a_declared_range_is_mapped_to_the_box():
    data = table()
    assert data.train.x.tolist() == [[0, 0], [0.5, 0.5], [1, 1]]
    assert data.test.x.tolist() == [[0.25, 0.25]]
    assert data.train.x.dtype == torch.float32
    assert (data.classes, data.train.y.tolist(), data.test.y.tolist()) == (
        ("a", "b"),
        [1, 0, 1],
        [0],
    )
    assert (data.image_shape, data.features, data.input_shape) == (None, 2, (2,))
    one = table(feature_range=(0, 10))
    assert one.train.x.tolist() == torch.tensor([[0.4, 0], [0.6, 0.5], [0.8, 1]]).tolist()


def test_a_range_of_the_training_data_is_asked_for_by_name_and_clips_test_values():
    data = table(x_test=[[0.0, 11.0]], feature_range="train")
    assert data.train.x.tolist() == [[0, 0], [0.5, 0.5], [1, 1]]
    assert data.test.x.tolist() == [[0, 1]]
    # of images all pixels have one range, or a picture would be distorted
    images = np.array([[[0, 2], [4, 8]], [[0, 2], [0, 2]]])
    data = table(images, [0, 1], images, [0, 1], feature_range="train")
    assert data.train.x[0].tolist() == [0, 0.25, 0.5, 1]


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor, lambda x: x.tolist(), pd.DataFrame])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_every_kind_of_array_gives_the_same(form, dtype):
    x = (np.arange(12).reshape(4, 3) % 2).astype(dtype)
    y = np.array([0, 1, 1, 0], np.uint8)
    data = table(form(x), y.tolist(), form(x), torch.from_numpy(y), feature_range=None)
    assert data.train.x.tolist() == data.test.x.tolist() == x.tolist()
    assert data.train.y.tolist() == data.test.y.tolist() == y.tolist()
    assert data.train.x.dtype == torch.float32
    assert data.sha256 == table(x, y, x, y, feature_range=None).sha256


@pytest.mark.parametrize("shape", [(4, 2, 3), (4, 1, 2, 3), (4, 2, 3, 1), (4, 6)])
def test_images_come_with_or_without_a_channel_or_flattened(shape):
    x, y = torch.arange(24).reshape(shape) / 24, [0, 1, 0, 1]
    flat = {"image_shape": (2, 3)} if len(shape) == 2 else {}
    data = table(x, y, x, y, feature_range=None, **flat)
    assert data.image_shape == data.input_shape == (2, 3)
    torch.testing.assert_close(data.train.x, torch.arange(24).reshape(4, 6) / 24)


def test_integer_labels_need_not_begin_at_zero_and_may_be_many():
    data = table(y=[300, 7, 300], y_test=[7])
    assert (data.classes, data.train.y.tolist()) == (("7", "300"), [1, 0, 1])
    assert table(y=[1, 0, 1], y_test=[0], classes=("no", "yes")).classes == ("no", "yes")
    x = torch.rand(400, 2)
    wide = table(x, torch.arange(400), x, torch.arange(400), feature_range=None)
    assert wide.test.y.tolist() == list(range(400))  # beyond 127 and 255
    assert wide.classes[399] == "399"


def test_what_is_handed_in_may_change_later():
    x = np.array(ROWS)
    data = table(x, x_test=x, y_test=LABELS)
    x[:] = 5.0
    assert data.train.x.tolist() == data.test.x.tolist() == [[0, 0], [0.5, 0.5], [1, 1]]


COLOUR = torch.rand(3, 3, 8, 8)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"x": [[4, 0], [6, 5], [8.5, 0]]}, "train: row 2 .* has 8.5 as feature 0, outside .4, 8"),
        ({"x_test": [[5, np.nan]]}, "test: row 0 .* has nan as feature 1, .*: mend or drop it"),
        ({"x_test": [[5, 1, 2]]}, "test: row 0 has 3 features, the training data have 2"),
        ({"x": [[1, 2], [3]]}, "train: images or rows differ in size"),
        ({"x": [["a", "b"]] * 3}, "train: images or rows must be numbers, got <U1"),
        ({"x": None}, "train: images or rows must be numbers, got NoneType"),
        ({"x": np.zeros((0, 2))}, "train: no images or rows"),
        ({"x_test": np.zeros((0, 2))}, "test: no images or rows"),
        ({"x": COLOUR, "feature_range": None}, "train: colour images .*: make them grey"),
        ({"x": COLOUR.movedim(1, 3)}, "train: colour images .* as a table"),
        ({"x": ROWS, "image_shape": (2, 2)}, r"image 0 has 2 pixels, where image_shape \(2, 2\)"),
        ({"image_shape": (2, 2, 3)}, r"shape \(2, 2, 3\): give rows and columns; make colour"),
        ({"image_shape": (2, 0)}, r"shape \(2, 0\): give rows and columns"),
        ({"x": torch.rand(3, 28, 28), "image_shape": (14, 56)}, r"shape \(28, 28\), where"),
        ({"x": torch.rand(3, dtype=torch.complex64)}, "a dense tensor of real numbers"),
        ({"y": [0, 1]}, r"train: labels must be 3 integers or names, got int64 of shape \(2,\)"),
        ({"y": [0.0, 1, 0]}, "train: labels must be 3 integers or names, got float64"),
        ({"y": np.eye(3)}, r"train: labels must .* of shape \(3, 3\): give their argmax\(1\)"),
        ({"y": ["a", None, "b"]}, "train: row 1 has the label None, which is no name"),
        ({"y_test": ["c"]}, r"test: row 0 has the label 'c': the classes are \['a', 'b'\]"),
        ({"y_test": [0]}, "test: row 0 has the label 0: the classes are"),
        ({"y": ["a", "a", "a"]}, "it has 1 class: give 2 to 32767"),
        ({"y": [0, 2, 1], "classes": ("a", "b")}, "row 1 has the label 2: there are 2 classes"),
        ({"classes": ("a", "a")}, "two classes are called 'a'"),
        ({"classes": "ab"}, "classes must be a tuple of names, got 'ab'"),
        ({"feature_range": "test"}, "feature_range is 'test'"),
        ({"feature_range": (1, 1)}, r"feature 0 has the range \[1, 1\], which cannot be mapped"),
        ({"feature_range": (0, np.inf)}, r"feature 0 has the range \[0, inf\]"),
        ({"feature_range": ((0, 9),) * 3}, "one such pair for each of the 2 features"),
        ({"feature_range": 5}, "feature_range must be"),
        (
            {"x": [[4, 1], [6, 1], [8, 1]], "feature_range": "train"},
            r"feature 1 has the range \[1, 1",
        ),
        ({"feature_range": None}, r"has 4 as feature 0, outside \[0, 1\]: scale them, or use Data"),
        ({"feature_names": ("one",)}, "feature_names must be 2 names"),
    ],
)
def test_what_is_refused_is_named(changes, complaint):
    with pytest.raises(DataError, match=f"^data set 'mine': .*{complaint}") as error:
        table(**changes)
    assert "\n" not in str(error.value)


def test_features_are_called_by_their_names():
    with pytest.raises(DataError, match=r"row 0 .* has 9 as width, outside"):
        table(x_test=[[9, 1]], feature_names=("width", "height"))


FRAME = pd.DataFrame(
    {"width": [4, 5, 6, 7, 8, 4, 5, 6], "kind": list("aabbabab"), "height": np.arange(8.0)}
)


def test_a_table_is_divided_by_chance_class_by_class():
    data = qbench.Dataset.from_frame(FRAME, name="mine", label="kind", feature_range=(0, 8))
    assert data.feature_names == ("width", "height")
    assert data.test.y.bincount().tolist() == [1, 1]
    assert data.train.y.bincount().tolist() == [3, 3]
    both = torch.cat([data.train.x, data.test.x]) * 8
    expected = torch.from_numpy(FRAME[["width", "height"]].to_numpy(np.float32))
    assert sorted(both.tolist()) == sorted(expected.tolist())
    same, other = (
        qbench.Dataset.from_frame(FRAME, name="mine", label="kind", feature_range=(0, 8), seed=seed)
        for seed in (0, 3)
    )
    assert same.sha256 == data.sha256 != other.sha256


def test_a_table_is_divided_by_a_column(tmp_path):
    frame = FRAME.assign(part=["train", "test"] * 4)
    frame.to_csv(tmp_path / "table.csv", index=False)
    data = qbench.Dataset.from_csv(
        tmp_path / "table.csv", name="mine", label="kind", split="part", feature_range=(0, 8)
    )
    assert (data.train.x * 8).tolist() == [[4, 0], [6, 2], [8, 4], [5, 6]]
    assert data.test.y.tolist() == [0, 1, 1, 1]
    assert (
        data.sha256
        == qbench.Dataset.from_frame(
            frame, name="mine", label="kind", split="part", feature_range=(0, 8)
        ).sha256
    )


@pytest.mark.parametrize(
    ("frame", "options", "complaint"),
    [
        (FRAME, {"label": "sort"}, r"there is no column 'sort': there are \['width', 'kind'"),
        (FRAME, {"split": "part"}, "there is no column 'part'"),
        (
            FRAME.assign(part="Train"),
            {"split": "part"},
            "row 0 has 'Train' in column 'part': write",
        ),
        (FRAME.assign(part="train"), {"split": "part"}, "test: no images or rows"),
        (FRAME.assign(colour="red"), {}, "column 'colour' holds 'red', which is no number"),
        (FRAME.mask(FRAME == 7.0), {}, r"row 3 \(1 in all\) has no value in column 'width'"),
        (FRAME.assign(height=99.0), {}, "train: row [0-7] .* has 99 as height, outside .0, 8"),
        (FRAME[:0], {}, "the table has no rows"),
        (FRAME, {"test_share": 1.5}, "test_share must lie between 0 and 1, got 1.5"),
        (FRAME[["kind"]], {}, r"values of shape \(\d, 0\)"),
    ],
)
def test_a_table_that_is_refused(frame, options, complaint):
    options = {"label": "kind", "feature_range": (0, 8), **options}
    with pytest.raises(DataError, match=f"^data set 'mine': .*{complaint}"):
        qbench.Dataset.from_frame(frame, name="mine", **options)


def test_rows_of_a_table_keep_their_index_in_messages():
    frame = FRAME.assign(height=[0, 0, 0, 0, 0, 0, 0, 99.0])
    frame.index = [f"plant {k}" for k in range(8)]
    with pytest.raises(DataError, match=r"row plant 7 \(1 in all\) has 99 as height"):
        qbench.Dataset.from_frame(frame, name="mine", label="kind", feature_range=(0, 8))


@pytest.mark.parametrize("content", ["", 'a,b\n1,"2\n', "a,b\n1,2,3,4\n1\n1,2,3,4,5,6\n", None])
def test_a_file_that_is_no_table(tmp_path, content):
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=r"^data set 'mine': cannot read .*t.csv: .*[^\n]$"):
        qbench.Dataset.from_csv(tmp_path / "t.csv", name="mine", label="b")


def png_folder(root, mode="L"):
    for split, n in (("train", 3), ("test", 1)):
        for label, name in enumerate(("hor", "ver")):
            (root / split / name).mkdir(parents=True)
            for k in range(n):
                pixels = np.full((4, 5), 100 * label + k, np.uint8)
                Image.fromarray(pixels).convert(mode).save(root / split / name / f"{k}.png")
    return root


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_a_folder_of_images_by_class(tmp_path, mode):
    data = qbench.Dataset.from_folder(png_folder(tmp_path, mode), name="mine")
    assert (data.classes, data.image_shape) == (("hor", "ver"), (4, 5))
    assert data.train.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert (data.train.x[:, 0] * 255).tolist() == pytest.approx([0, 1, 2, 100, 101, 102])
    assert data.test.x.shape == (2, 20)


def test_images_of_16_bits_and_of_one(tmp_path):
    root = png_folder(tmp_path)
    Image.fromarray(np.full((4, 5), 13107, np.uint16)).save(root / "test/hor/0.png")  # 65535 / 5
    Image.fromarray(np.full((4, 5), True)).save(root / "test/ver/0.png")
    data = qbench.Dataset.from_folder(root, name="mine")
    assert data.test.x[:, 0].tolist() == pytest.approx([0.2, 1.0])


def test_folders_that_are_refused(tmp_path):
    def refused(complaint):
        with pytest.raises(DataError, match=f"^data set 'mine': .*{complaint}"):
            qbench.Dataset.from_folder(tmp_path, name="mine")

    refused(f"there is no folder {tmp_path}/train: give FOLDER/train/CLASS/")
    root = png_folder(tmp_path)
    image = root / "test/ver/0.png"
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(image)
    refused(rf"test: {image} has \(4, 6\) pixels, .*/hor/0.png has \(4, 5\)")
    Image.fromarray(np.eye(4, 5, dtype=np.uint8)[..., None] * np.uint8([9, 0, 0])).save(image)
    refused(f"test: {image} is coloured or transparent: make it grey")
    image.write_bytes(image.read_bytes()[:40])
    refused(f"test: {image} is no PNG image")
    image.unlink()
    refused(f"there are no PNG files in {image.parent}")
    image.parent.rmdir()
    refused(f"class 'ver' is not in both {root}/train and {root}/test")


class Pairs(torch.utils.data.Dataset):
    """A map-style data set, whose index is never out of range."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, at):
        return self.items[at % len(self.items)]


def test_torchs_data_sets():
    first, second = torch.zeros(1, 2, 2), torch.eye(2)[None]
    train = Pairs((first, 0), (second, torch.tensor(1)))
    data = qbench.Dataset.from_torch(train, Pairs((second, 1)), name="mine")
    assert data.image_shape == (2, 2)
    assert data.train.x.tolist() == [[0, 0, 0, 0], [1, 0, 0, 1]]
    assert (data.train.y.tolist(), data.test.y.tolist()) == ([0, 1], [1])
    pictures = Pairs((Image.new("L", (3, 2), 255), "on"), (Image.new("L", (3, 2)), "off"))
    data = qbench.Dataset.from_torch(pictures, pictures, name="mine", feature_range=(0, 255))
    assert (data.image_shape, data.classes) == ((2, 3), ("off", "on"))
    assert data.train.x.tolist() == [[1] * 6, [0] * 6]
    rows = torch.utils.data.TensorDataset(torch.rand(6, 3), torch.arange(6) % 2)
    assert qbench.Dataset.from_torch(rows, rows, name="mine").features == 3


@pytest.mark.parametrize(
    ("items", "complaint"),
    [
        ([], "train: no images or rows"),
        ([torch.zeros(3)], "train: item 0 is a Tensor, no pair"),
        ([(torch.zeros(3), 0), (torch.zeros(4), 1)], r"item 1 has shape \(4,\), item 0 has \(3,\)"),
        ([(torch.zeros(3), 0), (torch.full((3,), 2.0), 1)], "train: item 1 .* has 2 as feature 0"),
        ([(torch.zeros(3, 4, 4), 0)], "train: colour images"),
        ([(torch.zeros(3), torch.eye(2)[0])], "train: .*labels"),
    ],
)
def test_a_torch_data_set_that_is_refused(items, complaint):
    with pytest.raises(DataError, match=f"^data set 'mine': .*{complaint}"):
        qbench.Dataset.from_torch(Pairs(*items), Pairs(*items), name="mine")


def test_a_dataset_of_ones_own_is_attacked():
    """The sign model x₀ < ½ of one feature: broken where x₀ lies within ε of ½."""
    x = np.array([[0.3], [0.45], [0.55], [0.7]])
    data = qbench.Dataset.from_arrays(x, [0, 0, 1, 1], x, [0, 0, 1, 1], name="mine")
    model = torch.nn.Linear(1, 2)
    with torch.no_grad():
        model.weight[:] = torch.tensor([[-1.0], [1.0]])
        model.bias[:] = torch.tensor([0.5, -0.5])
    for attack in ("pgd", "square"):
        assert qbench.evaluate(model, attack, 0.1, data=data).robust_accuracy == 0.5
        assert qbench.evaluate(model, attack, 0.04, data=data).robust_accuracy == 1.0


def test_a_split_of_images_is_flattened():
    x, y = torch.rand(10, 28, 28), torch.arange(10)
    model = torch.nn.Linear(784, 10)
    found = [qbench.evaluate(model, data=Split(images, y)) for images in (x, x.flatten(1))]
    assert torch.equal(found[0].x_adv, found[1].x_adv)
