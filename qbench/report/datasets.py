"""Data sets as a reader meets them: the one that was attacked, and a sheet of samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qbench.datasets.base import Dataset, find_data, load_data
from qbench.errors import QbenchError
from qbench.files import write_atomically
from qbench.plugin_files import PluginFile
from qbench.records.results import Results


def known_dataset(results: Results, plugins: Sequence[PluginFile] = ()) -> Dataset | None:
    """The data set that results are about, if it is here and unchanged.

    None where nobody provides it, where it would be downloaded, or where its content is another
    one: results outlive the plugins and files they were made from.
    """
    files = tuple(plugins)
    for record in results.records[:1]:
        data = record.task.data
        try:
            provided, _ = find_data(data.name, files)
            if provided.spec.downloads:
                return None
            dataset = load_data(data.name, files)
        except QbenchError:
            return None
        return dataset if dataset.sha256 == data.sha256 else None
    return None


def write_sample_sheet(dataset: Dataset, file: Path) -> None:
    """Draw samples of each class of the test images into a PNG, the rows of a table as lines.

    Raises:
        StoreError: The file cannot be written.
    """
    from qbench.report.figures.samples import image_sheet, table_sheet
    from qbench.report.figures.style import png

    x, y = dataset.test.x.numpy().reshape(-1, *dataset.input_shape), dataset.test.y.numpy()
    if dataset.image_shape is None:
        names = dataset.feature_names or [str(at) for at in range(dataset.features)]
        figure = table_sheet(x, y, dataset.classes, names)
    else:
        figure = image_sheet(x, y, dataset.classes)
    write_atomically(file, png(figure))
