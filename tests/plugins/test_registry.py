import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from qbench import registry as module
from qbench.errors import PluginError, UnknownNameError
from qbench.hookspecs import hookimpl
from qbench.registry import Plugin, PluginFile, Registry, load_registry

PLUGIN = """
    from qbench.hookspecs import hookimpl
    from qbench.specs import ModelSpec
    import torch

    @hookimpl
    def qbench_models():
        yield ModelSpec(
            name="{name}", description="a test", factory="{factory}",
            family="classical", structure="test",
        )

    class Built(torch.nn.Module):
        pass

    def build():
        return Built()
"""


@pytest.fixture(autouse=True)
def _fresh():
    load_registry.cache_clear()
    before = set(sys.modules)
    yield
    load_registry.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("plugin_"):
            del sys.modules[name]


def write(folder, file, *, name="mine", factory="plugin_a:build", text=PLUGIN):
    path = folder / file
    path.write_text(textwrap.dedent(text).format(name=name, factory=factory))
    return PluginFile.read(path)


def test_the_first_party_plugins_load():
    found = load_registry()
    assert not [plugin.error for plugin in found.plugins.values() if plugin.error]
    zoo = {"reup", "reup-0.1", "reup-0.2", "amplitude", "convnet", "fourier"}
    assert zoo <= set(found.all("model"))
    assert {"pgd", "fgsm"} <= set(found.all("attack"))
    assert "glyphs" in found.all("dataset")
    assert {"statevector", "torch"} <= set(found.all("engine"))
    assert {"circuit-bound", "lipsdp-neuron", "spectral-product"} <= set(found.all("certifier"))


def test_a_plugin_from_a_file(tmp_path):
    found = load_registry((write(tmp_path, "plugin_a.py"),))
    provided = found.get("model", "mine")
    assert provided.plugin == "plugin_a"
    assert type(provided.create()).__name__ == "Built"
    assert found.plugins["plugin_a"].provides == {"model": ["mine"]}


def test_two_plugins_with_one_name_are_both_named(tmp_path):
    paths = (write(tmp_path, "plugin_a.py"), write(tmp_path, "plugin_b.py"))
    found = load_registry(paths)
    with pytest.raises(PluginError, match=r"'mine': 'plugin_a' and 'plugin_b'"):
        found.get("model", "mine")
    assert found.get("attack", "pgd").spec.name == "pgd"  # the other kinds go on
    assert len(found.clashes()) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("import no_such_module_anywhere", "no_such_module_anywhere"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def (", "SyntaxError"),
        (
            "from qbench.hookspecs import hookimpl\n@hookimpl\ndef qbench_models():\n    yield 3",
            "expected ModelSpec, got 3",
        ),
        (
            "from qbench.hookspecs import hookimpl\n@hookimpl\ndef qbench_nonsense():\n    pass",
            "qbench_nonsense",
        ),
    ],
)
def test_a_file_that_is_no_plugin_is_named_with_its_error(tmp_path, text, complaint):
    path = tmp_path / "plugin_bad.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=f"plugin_bad.py does not load: .*{complaint}"):
        load_registry((PluginFile.read(path),))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PluginError, match=r"nowhere.py does not load: No such file"):
        PluginFile.read(tmp_path / "nowhere.py")


def test_a_file_named_like_a_module_is_refused(tmp_path):
    with pytest.raises(PluginError, match="'json' is taken"):
        load_registry((write(tmp_path, "json.py"),))


@pytest.mark.parametrize("name", ["Mine", "a b", "../x", "x|y", "", "-a"])
def test_names_that_would_break_paths_or_tables_are_refused(tmp_path, name):
    with pytest.raises(PluginError, match="is no name"):
        load_registry((write(tmp_path, "plugin_a.py", name=name),))


def test_an_installed_plugin_that_breaks_takes_nothing_down(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "plugin_broken.py").write_text("1 / 0")
    entries = [
        *module.entry_points(group="qbench"),
        EntryPoint("broken", "plugin_broken", "qbench"),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: entries)
    found = load_registry()
    assert found.plugins["broken"].error == "ZeroDivisionError: division by zero"
    assert "reup" in found.all("model")
    # what it may have provided fails with its error
    with pytest.raises(UnknownNameError, match=r"broken \(ZeroDivisionError"):
        found.get("model", "theirs")


def test_a_factory_that_fails_names_its_plugin(tmp_path):
    path = write(tmp_path, "plugin_a.py", factory="plugin_a:nothing")
    with pytest.raises(PluginError, match=r"'plugin_a' cannot make 'mine' .*AttributeError"):
        load_registry((path,)).get("model", "mine").create()


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(UnknownNameError, match="unknown model 'reupp': did you mean reup"):
        load_registry().get("model", "reupp")


def test_selection_by_name_glob_and_all():
    found = load_registry()
    assert found.select("model", ["convnet", "reup-0.?"]) == ["convnet", "reup-0.1", "reup-0.2"]
    assert found.select("model", ["all", "reup"]) == list(found.all("model"))
    with pytest.raises(UnknownNameError, match="no-such"):
        found.select("model", ["convnet", "no-such*"])


def test_a_plugin_adds_all_of_its_specs_or_none():
    class Half:
        @hookimpl
        def qbench_models(self):
            return []

    found = Registry()
    plugin = Plugin("half", "test", "1")
    found.add(plugin, Half())
    assert plugin.error is None
    assert plugin.provides == {}
