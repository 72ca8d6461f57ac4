"""The authors' checkpoints: right values, and what is said of files that are not theirs.

Most tests use a folder in the authors' layout with models and images of ours.
"""

import json
import os
import shutil
from dataclasses import asdict, replace

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

import qbench
from qbench.errors import DataError, QbenchError, WeightsError
from qbench.protocols import load_protocol
from qbench_reproduction.figures import save
from qbench_reproduction.published import evaluate_published, figure, section, steps
from qbench_reproduction.published.checkpoints import find, images
from qbench_reproduction.published.evaluation import without_attack
from qbench_reproduction.published.table_1 import compare

FILES = {
    "QVC-ReUp-8-32-0_0-ep20": "reup",
    "QVC-Amp-8-32-0_0-ep20": "amplitude",
    "ConvNet-single-layer-0_0reg-ep20": "convnet",
    "Fourier-32-neurons-0_0reg-ep20": "fourier",
}
LIMIT = 6  # images attacked


@pytest.fixture(scope="session")
def authors(tmp_path_factory):
    """A folder like the authors', with weights of our zoo and some of our glyphs."""
    root = tmp_path_factory.mktemp("authors")
    data = qbench.load_dataset("glyphs")
    for split, n in ((data.train, 4), (data.test, 2)):
        kind = "train" if split is data.train else "test"
        for label in range(4):
            folder = root / "dataset" / f"dataset_{kind}" / f"class_{label}"
            folder.mkdir(parents=True)
            for k, x in enumerate(split.x[split.y == label][:n]):
                pixels = np.pad((x.view(16, 16).numpy() * 255).round().astype(np.uint8), 1)
                Image.fromarray(pixels).save(folder / f"sample_{k}.png")
    (root / "model_checkpoints").mkdir()
    for file, name in FILES.items():
        model = qbench.load_model(name)
        precision = torch.float64 if name == "fourier" else torch.float32
        theirs = {ours: name for name, ours in model.published_names.items()}
        state = {theirs[key]: value.to(precision) for key, value in model.state_dict().items()}
        torch.save(state, root / "model_checkpoints" / file)
    return root


@pytest.fixture(scope="session")
def results(authors):
    done = []
    found = evaluate_published(authors, lambda amount, label: done.append(amount), limit=LIMIT)
    assert sum(done) == steps(authors)
    return found


@pytest.fixture
def copied(authors, tmp_path):
    """A copy to damage."""
    return shutil.copytree(authors, tmp_path / "copy")


def no_progress(amount, label):
    pass


def test_every_checkpoint_is_named_after_its_file(authors, results):
    assert [(one.file, one.model) for one in results.checkpoints] == list(FILES.items())
    assert {(one.penalty, one.epoch) for one in results.checkpoints} == {(0.0, 20)}
    assert [one.precision for one in results.checkpoints] == ["float32"] * 3 + ["float64"]
    assert results.clean_images == 16  # the folder holds no hundred
    split = load_protocol("wendlinger2024").selection.images(images(authors))
    for one in results.checkpoints:
        scores = qbench.load_model(one.model)(split.x).double()
        own = scores.logsumexp(1) - scores.gather(1, split.y[:, None])[:, 0]
        assert one.cross_entropy == pytest.approx(own.mean().item(), rel=1e-5)
        assert one.accuracy == (scores.argmax(1) == split.y).double().mean().item()


def test_the_paper_is_attacked_as_its_authors_do(authors, results):
    # Sign steps of 0.01 from the image, kept within ε; the last step counts, pixels are unbounded.
    protocol = results.protocols[0]
    split = load_protocol("wendlinger2024").selection.images(images(authors), LIMIT)
    for file, name in list(FILES.items())[2:]:
        model = qbench.load_published(name, authors / "model_checkpoints" / file).float()
        at = [one.file for one in results.checkpoints].index(file)
        for place, (eps, number) in enumerate(((0.05, 10), (0.1, 10), (0.2, 20))):
            x = split.x.clone()
            for _ in range(number):
                x.requires_grad_()
                loss = torch.nn.functional.cross_entropy(model(x), split.y)
                x = x.detach() + 0.01 * torch.autograd.grad(loss, x)[0].sign()
                x = split.x + (x - split.x).clamp(-eps, eps)
            right = (model(x).argmax(1) == split.y).double().mean().item()
            assert protocol.accuracy[at].attacked[place] == right
            if eps == 0.1:
                assert protocol.transfer[at][at] == right
                other = qbench.load_model("reup")
                moved = (other(x).argmax(1) == split.y).double().mean().item()
                assert protocol.transfer[at][0] == moved


def test_the_leaderboards_attack_and_the_transfer_are_those_of_the_library(authors, results):
    protocol = results.protocols[1]
    assert (protocol.protocol, protocol.split, protocol.boxed) == ("glyphs-linf-v1", "test", True)
    split = load_protocol("glyphs-linf-v1").selection.images(images(authors), LIMIT)
    models = [
        qbench.load_published(one.model, authors / "model_checkpoints" / one.file)
        for one in results.checkpoints
    ]
    clean = torch.stack([target(split.x).argmax(1) == split.y for target in models])
    standing = clean.clone()  # target, image
    for source, model in enumerate(models):
        accuracy = protocol.accuracy[source]
        found = qbench.evaluate(model, "pgd", protocol.eps, data=split)
        assert accuracy.clean == found[0].clean_accuracy
        assert accuracy.robust == tuple(one.robust_accuracy for one in found)
        made = [found[protocol.eps.index(0.1)].x_adv]
        made += [qbench.evaluate(model, "apgd-t", 0.1, data=split, steps=50).x_adv]
        told = [torch.stack([t(x).argmax(1) == split.y for t in models]) for x in made]
        assert list(protocol.transfer[source]) == told[0].double().mean(1).tolist()
        standing &= told[0] & told[1]
    assert [one.worst for one in protocol.accuracy] == standing.double().mean(1).tolist()
    assert 0 < standing.sum() < clean.sum()
    assert len({entry for row in protocol.transfer for entry in row}) > 2


def test_no_attack_does_more_than_the_worst_case(results):
    for protocol in results.protocols:
        at = protocol.eps.index(protocol.transfer_eps)
        columns = zip(*protocol.transfer, strict=True)
        for accuracy, shown in zip(protocol.accuracy, columns, strict=True):
            assert accuracy.worst <= min(accuracy.robust[at], *shown)
            assert all(r <= a for r, a in zip(accuracy.robust, accuracy.attacked, strict=True))


def test_results_can_be_written_and_shown(results, tmp_path):
    assert json.loads(json.dumps(asdict(results)))["clean_images"] == 16
    text = section(results)
    assert text.startswith("## The authors' checkpoints\n")
    for one in results.checkpoints:
        assert f"{one.cross_entropy:.7f}" in text
        assert one.file.replace("_", "\\_") in text
    assert save(figure(results), tmp_path, "published") == "published.png"
    assert (tmp_path / "published.pdf").stat().st_size > 10_000


def test_the_text_follows_the_numbers(results):
    def changed(attacked, robust, worst):
        protocol = results.protocols[0]
        accuracy = replace(protocol.accuracy[0], attacked=attacked, robust=robust, worst=worst)
        protocol = replace(protocol, accuracy=(accuracy,) * len(FILES))
        return section(replace(results, protocols=(protocol,)))

    same = (0.5, 0.25, 0.125)
    text = changed(same, same, 0.25)
    assert "The two counts agree everywhere" in text
    assert "no attack of the worst case breaks an image that PGD does not" in text
    text = changed((0.75, 0.25, 0.125), same, 0.0)
    assert "The two counts differ by at most 0.250." in text
    assert "0.750 / 0.500" in text
    assert "by up to 0.250 (QVC-ReUp-8-32-0\\_0-ep20: 0.250 and 0.000)" in text


def test_names_say_model_penalty_and_epoch(tmp_path):
    folder = tmp_path / "model_checkpoints"
    folder.mkdir()
    expected = [
        ("QVC-ReUp-mine", "reup", None, None),
        ("QVC-ReUp-8-32-0_0-ep100", "reup", 0.0, 100),
        ("QVC-ReUp-8-32-0_1-ep20.pt", "reup", 0.1, 20),
        ("QVC-ReUp-8-32-0_25-ep20", "reup", 0.25, 20),
        ("QVC-Amp-8-32-0_0-ep20", "amplitude", 0.0, 20),
        ("ConvNet-single-layer-0_0reg-ep20", "convnet", 0.0, 20),
        ("Fourier-32-neurons-0_0reg-ep7", "fourier", 0.0, 7),
    ]
    for file, *_ in [*expected, (".hidden",), ("README.md",), ("convnet",)]:
        (folder / file).touch()
    named, others = find(tmp_path)
    assert [(n.path.name, n.model, n.penalty, n.epoch) for n in named] == expected
    assert others == ["README.md", "convnet"]


def test_further_checkpoints_count_and_other_files_are_named(copied):
    folder = copied / "model_checkpoints"
    for name in list(FILES)[:3]:
        (folder / name).unlink()
    shutil.copy(folder / "Fourier-32-neurons-0_0reg-ep20", folder / "Fourier-mine")
    (folder / "README.md").write_text("read me")
    (folder / "<b>*x*").mkdir()
    found = evaluate_published(copied, no_progress, limit=1)
    first, second = found.checkpoints
    assert [first.file, second.file] == ["Fourier-mine", "Fourier-32-neurons-0_0reg-ep20"]
    assert first.bound == second.bound > 0
    assert found.others == ("<b>*x*", "README.md")
    text = section(found)
    assert "no model: “&lt;b&gt;\\*x\\*”, “README.md”." in text
    compared = {one.row: (one.file, one.weights) for one in found.table_1}
    assert compared["Fourier, epoch 20"] == (second.file, "other weights")
    assert compared["ConvNet, epoch 20"] == (None, "no checkpoint here")
    assert "0 are those of a checkpoint here, and 1 is not (Fourier, epoch 20)" in text


def test_a_row_of_table_1_is_told_by_the_bound(results):
    convnet = results.checkpoints[2]
    for bound, weights in ((20.2351, "these weights"), (20.2349, "other weights")):
        rows = {one.row: one for one in compare([replace(convnet, bound=bound)])}
        assert rows["ConvNet, epoch 20"].weights == weights
        assert rows["Fourier, epoch 20"].weights == "no checkpoint here"
        assert len(rows) == 8


# The authors' own files.


@pytest.fixture(scope="module")
def theirs(published):
    split = load_protocol("wendlinger2024").selection.images(images(published))
    assert len(split.y) == 100
    return [
        without_attack(one, qbench.load_published(one.model, one.path), split)
        for one in find(published)[0]
    ]


def test_the_published_numbers(theirs):
    found = {one.file: one for one in theirs}
    reup = found["QVC-ReUp-8-32-0_0-ep20"]
    assert reup.cross_entropy == pytest.approx(0.8978896, abs=1e-5)
    assert reup.accuracy == 0.97
    amplitude = found["QVC-Amp-8-32-0_0-ep20"]
    assert amplitude.cross_entropy == pytest.approx(0.9936860, abs=1e-5)
    assert amplitude.bound is None
    assert found["QVC-ReUp-8-32-0_0-ep100"].bound == pytest.approx(106.33, abs=0.005)
    assert found["ConvNet-single-layer-0_0reg-ep20"].bound == pytest.approx(20.24, abs=0.005)
    assert found["Fourier-32-neurons-0_0reg-ep20"].precision == "float64"


def test_rows_of_table_1_from_other_weights_are_named(theirs):
    weights = {one.row: one.weights for one in compare(theirs)}
    assert weights["ReUp(0.0), epoch 100"] == weights["ConvNet, epoch 20"] == "these weights"
    assert weights["ReUp(0.0), epoch 20"] == weights["Fourier, epoch 20"] == "other weights"


# Files that are not the authors'.


def refused(folder, error, *parts):
    with pytest.raises(QbenchError) as raised:
        evaluate_published(folder, no_progress, limit=1)
    assert isinstance(raised.value, error)
    assert "\n" not in str(raised.value)
    for part in parts:
        assert str(part) in str(raised.value)


def test_a_missing_folder_and_one_without_checkpoints(tmp_path, copied):
    refused(tmp_path / "none", DataError, "there is no folder", tmp_path / "none")
    with pytest.raises(DataError, match="there is no folder"):
        steps(tmp_path / "none")
    for path in (copied / "model_checkpoints").iterdir():
        path.unlink()
    refused(copied, WeightsError, copied / "model_checkpoints", "holds no checkpoint")
    (copied / "model_checkpoints").rmdir()
    refused(copied, WeightsError, copied / "model_checkpoints", "holds no checkpoint")


@pytest.mark.parametrize("size", [0, 100, -200])
def test_a_truncated_checkpoint(copied, size):
    file = copied / "model_checkpoints" / "QVC-Amp-8-32-0_0-ep20"
    file.write_bytes(file.read_bytes()[:size])
    refused(copied, WeightsError, file, "damaged")


def test_a_foreign_checkpoint_under_a_known_name(copied):
    file = copied / "model_checkpoints" / "Fourier-32-neurons-0_0reg-ep20"
    shutil.copy(copied / "model_checkpoints" / "QVC-Amp-8-32-0_0-ep20", file)
    refused(copied, WeightsError, file, "is no published fourier checkpoint")
    state = {"qcircuit.weights": torch.zeros(16, 8, 3)}
    file = copied / "model_checkpoints" / "QVC-Amp-8-32-0_0-ep20"
    torch.save(state, file)
    refused(copied, WeightsError, file, "(16, 8, 3)", "(32, 8, 3)")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("old", [False, True])
def test_a_pickle_that_runs_code(copied, old):
    file = copied / "model_checkpoints" / "QVC-Amp-8-32-0_0-ep20"
    state = {"qcircuit.weights": Evil(copied / "made")}
    torch.save(state, file, _use_new_zipfile_serialization=not old)
    torch.load(file, weights_only=False)
    (copied / "made").rmdir()  # it does run where it is trusted
    refused(copied, WeightsError, file, "could run code and is not read")
    assert not (copied / "made").exists()


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("ConvNet-single-layer-0_0reg-ep20", 1e30, "scores of image 0 (16 in all) are not finite"),
        ("Fourier-32-neurons-0_0reg-ep20", 1e300, "cannot be evaluated"),
    ],
)
def test_weights_too_large_to_compute_with(copied, name, value, complaint):
    file = copied / "model_checkpoints" / name
    state = torch.load(file, weights_only=True)
    torch.save({key: torch.full_like(old, value) for key, old in state.items()}, file)
    refused(copied, WeightsError, file, complaint)


def test_images_of_another_size_or_kind(copied):
    file = copied / "dataset" / "dataset_test" / "class_1" / "sample_1.png"
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(file)
    refused(copied, DataError, file, "(28, 28) pixels, expected (18, 18)")
    Image.fromarray(np.zeros((18, 18), np.uint8)).save(file, format="JPEG")
    refused(copied, DataError, file, "is no PNG image")
    file.write_bytes(b"no image")
    refused(copied, DataError, file, "is no PNG image")
    shutil.rmtree(file.parent)
    refused(copied, DataError, file.parent, "there are no PNG files")


def write_hdf5(path, data, lacking=()):
    with h5py.File(path, "w") as file:
        for kind in ("train", "test"):
            split = getattr(data, kind)
            for key, value in (("img", split.x.view(-1, 16, 16)), ("labels", split.y)):
                if f"{key}_{kind}" not in lacking:
                    file[f"{key}_{kind}"] = value.numpy()


def test_the_images_of_pennylanes_file(copied):
    data = images(copied)
    shutil.rmtree(copied / "dataset")
    refused(copied, DataError, copied, "no HDF5 files")
    write_hdf5(copied / "plus-minus.h5", data)
    assert images(copied).sha256 == data.sha256
    assert len(find(copied)[0]) == 4
    write_hdf5(copied / "plus-minus.h5", data, lacking=("labels_train",))
    refused(copied, DataError, copied / "plus-minus.h5", "labels_train")
    (copied / "plus-minus.h5").write_bytes(b"no")
    refused(copied, DataError, copied / "plus-minus.h5", "is no HDF5 file")
    write_hdf5(copied / "second.hdf5", data)
    refused(copied, DataError, copied, "2 HDF5 files")
