import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from qbench import registry as module
from qbench.errors import PluginError, UnknownNameError
from qbench.hookspecs import hookimpl
from qbench.plugin_files import PluginFile
from qbench.registry import Plugin, Registry, load_registry

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


FAULTS = [
    ("models", "ModelSpec(**MODEL | {'family': 'photonic'})",
     "ModelSpec 'mine': family is 'photonic': give 'quantum' or 'classical'"),
    ("models", "ModelSpec(**MODEL | {'factory': dict})",
     "ModelSpec 'mine': factory is the class dict: give text \"module:callable\", not the object"),
    ("models", "ModelSpec(**MODEL | {'factory': print})",
     "ModelSpec 'mine': factory is the function print: give text \"module:callable\""),
    ("models", "ModelSpec(**MODEL | {'factory': 'plugin_bad'})",
     "ModelSpec 'mine': factory is 'plugin_bad': give \"module:callable\""),
    ("models", "ModelSpec(**MODEL | {'name': 3})", "ModelSpec 3: name is 3: give text"),
    ("models", "ModelSpec(**MODEL | {'revision': True})",
     "ModelSpec 'mine': revision is True: give a whole number"),
    ("models", "ModelSpec(**MODEL | {'revision': 0})",
     "ModelSpec 'mine': revision is 0: give 1 or more"),
    ("models", "ModelSpec(**MODEL | {'params': [1]})",
     "ModelSpec 'mine': params is [1]: give a mapping from names of parameters to"),
    ("models", "ModelSpec(**MODEL | {'params': {'x': print}})",
     "ModelSpec 'mine': params is a dict: give a mapping from names of parameters to"),
    ("models", "ModelSpec(**MODEL | {'recipe': {'epochs': 3}})",
     "ModelSpec 'mine': recipe is {'epochs': 3}: give a Recipe"),
    ("models", "ModelSpec(**MODEL | {'recipe': Recipe(learning_rate='1')})",
     "ModelSpec 'mine': recipe: learning_rate is '1': give a number"),
    ("models", "ModelSpec(**MODEL | {'recipe': Recipe(optimizer='lbfgs')})",
     "ModelSpec 'mine': recipe: optimizer is 'lbfgs': give 'adam' or 'adamw' or 'sgd'"),
    ("models", "ModelSpec(**MODEL | {'recipe': Recipe(epochs=-1)})",
     "ValueError: epochs is -1: give at least 0"),
    ("models", "ModelSpec(**MODEL | {'fits_data': True})",
     "ModelSpec 'mine': fits_data is True: give a tuple of 'features' or 'classes'"),
    ("models", "ModelSpec(**MODEL | {'fits_data': ('rows',)})",
     "ModelSpec 'mine': fits_data is ('rows',): give a tuple of 'features'"),
    ("models", "ModelSpec(**MODEL | {'weights': {'a': 'b'}})",
     "ModelSpec 'mine': weights is {'a': 'b'}: give text or a mapping from whole numbers to text"),
    ("models", "ModelSpec(**MODEL | {'train': 'fit'})",
     "ModelSpec 'mine': train is 'fit': give \"module:callable\""),
    ("attacks", "AttackSpec(**SPEC, norms=('Linf',), gradient=True)",
     "AttackSpec 'mine': norms is ('Linf',): give a tuple of 'linf' or 'l2', such as ('linf',)"),
    ("attacks", "AttackSpec(**SPEC, norms='linf', gradient=True)",
     "AttackSpec 'mine': norms is 'linf': give a tuple of 'linf' or 'l2'"),
    ("attacks", "AttackSpec(**SPEC, norms=('l2',), gradient='yes')",
     "AttackSpec 'mine': gradient is 'yes': give True or False"),
    ("attacks", "ModelSpec(**MODEL)", "expected AttackSpec, got a ModelSpec"),
]  # fmt: skip


@pytest.mark.parametrize(("hook", "spec", "complaint"), FAULTS)
def test_a_field_of_a_wrong_kind_is_one_line(tmp_path, monkeypatch, hook, spec, complaint):
    text = (
        "from qbench.hookspecs import hookimpl\nfrom qbench.specs import *\n"
        "SPEC = {'name': 'mine', 'description': 'a test', 'factory': 'plugin_bad:build'}\n"
        "MODEL = SPEC | {'family': 'classical', 'structure': 'test'}\n"
        f"@hookimpl\ndef qbench_{hook}():\n    yield {spec}\n"
    )
    (tmp_path / "plugin_bad.py").write_text(text)
    with pytest.raises(PluginError) as caught:
        load_registry((PluginFile.read(tmp_path / "plugin_bad.py"),))
    assert f"plugin_bad.py does not load: {complaint}" in str(caught.value)
    # installed, it is listed as broken and takes nothing down
    monkeypatch.syspath_prepend(tmp_path)
    found = installed(monkeypatch, "plugin_bad")
    assert complaint in found.plugins["theirs"].error
    assert "reup" in found.all("model")


def installed(monkeypatch, value):
    """The registry with one more plugin, installed as `theirs`."""
    sys.modules.pop(value, None)
    entries = [*module.entry_points(group="qbench"), EntryPoint("theirs", value, "qbench")]
    monkeypatch.setattr(module, "entry_points", lambda group: entries)
    load_registry.cache_clear()
    return load_registry()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os\nos._exit(0)", "SystemExit: os._exit(0)"),
        ("class Odd(BaseException): pass\nraise Odd('x')", "Odd: x"),
        ("def qbench_models():\n    return []", "qbench_models lacks @hookimpl"),
        ("VALUE = 3", "it provides nothing: define one of the hooks qbench_models"),
    ],
)
def test_an_installed_plugin_that_ends_the_process_or_hooks_nothing(
    tmp_path, monkeypatch, text, complaint
):
    (tmp_path / "plugin_ends.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = installed(monkeypatch, "plugin_ends")
    assert found.plugins["theirs"].error.startswith(complaint)
    assert "reup" in found.all("model")


def test_an_interrupt_names_the_plugin_that_was_loading(tmp_path, monkeypatch):
    (tmp_path / "plugin_ends.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt, match="while plugin 'theirs' was loading"):
        installed(monkeypatch, "plugin_ends")


def test_a_child_that_a_plugin_forks_may_end(tmp_path):
    text = "import os\nif os.fork() == 0:\n    os._exit(7)\nSTATUS = os.wait()[1] >> 8\n"
    path = tmp_path / "plugin_a.py"
    path.write_text(text + textwrap.dedent(PLUGIN).format(name="mine", factory="plugin_a:build"))
    load_registry((PluginFile.read(path),))
    assert sys.modules["plugin_a"].STATUS == 7


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        ("Built", "it returned the class Built, not an instance of it"),
        ("None", "it returned a NoneType, not a torch.nn.Module"),
        ("[1]", "it returned a list, not a torch.nn.Module"),
    ],
)
def test_a_factory_that_returns_something_else(tmp_path, made, complaint):
    text = PLUGIN.replace("return Built()", f"return {made}")
    provided = load_registry((write(tmp_path, "plugin_a.py", text=text),)).get("model", "mine")
    with pytest.raises(PluginError) as caught:
        provided.create()
    assert str(caught.value) == (
        f"plugin 'plugin_a' cannot make 'mine' from plugin_a:build: {complaint}"
    )


def test_a_plugin_uses_the_files_beside_it(tmp_path):
    (tmp_path / "plugin_beside.py").write_text("import plugin_deeper\nVALUE = plugin_deeper.SEVEN")
    (tmp_path / "plugin_deeper.py").write_text("SEVEN = 7")
    (tmp_path / "plugin_late.py").write_text("SEVEN = 7")
    (tmp_path / "plugin_factory.py").write_text(
        "def build():\n    from plugin_a import Built\n    return Built()"
    )
    uses = (
        "import plugin_beside\nfrom plugin_beside import VALUE\n"
        "def late():\n    from plugin_late import SEVEN\n    return SEVEN == VALUE\n"
    )
    text = uses + textwrap.dedent(PLUGIN).format(name="mine", factory="plugin_factory:build")
    path = tmp_path / "plugin_a.py"
    path.write_text(text)
    file = PluginFile.read(path)
    names = [name for name, _ in file.helpers]
    assert names == ["plugin_beside", "plugin_deeper", "plugin_factory", "plugin_late"]
    for name in names:  # their source travels with the plugin
        (tmp_path / f"{name}.py").unlink()
    provided = load_registry((file,)).get("model", "mine")
    assert type(provided.create()).__name__ == "Built"
    assert sys.modules["plugin_a"].late()


def test_parameters_are_listed_with_their_meaning():
    found = {one.name: one for one in load_registry().get("attack", "pgd").parameters()}
    assert found["steps"].default == 40
    assert found["steps"].meaning == "Gradient steps a start."
    assert found["relative_step"].meaning.endswith("a step is relative_step·ε/steps.")
    inherited = load_registry().get("attack", "fgsm").parameters()
    assert [one.meaning for one in inherited] == [found["random_start"].meaning]
    for name, attack in load_registry().all("attack").items():
        if not name.startswith("art"):
            assert all(one.meaning for one in attack.parameters()), name


def test_a_parameter_that_an_attack_does_not_take():
    with pytest.raises(UnknownNameError, match=r"parameter of pgd 'stepz': did you .*steps"):
        load_registry().get("attack", "pgd").check_names(["stepz"])


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
