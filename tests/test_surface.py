"""The surface: what a newcomer types answers without loading torch, and every public name is there."""

import subprocess
import sys

import pytest

import modelstitch

# Runs the code, then says on the last line which heavy libraries it loaded.
LOADED = """
import sys
try:
    {code}
except SystemExit as exit:
    assert not exit.code, exit.code
print([name for name in ("altair", "pandas", "scipy", "sklearn", "torch") if name in sys.modules])
"""
HELP = "sys.argv = ['modelstitch', {arguments}'--help']; from modelstitch.cli import main; main()"


def output_of(code):
    result = subprocess.run(
        [sys.executable, "-c", LOADED.format(code=code)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_loads_nothing_heavy():
    assert output_of("import modelstitch").splitlines()[-1] == "[]"


def test_the_check_sees_what_is_loaded():
    assert output_of("import torch, pandas").splitlines()[-1] == "['pandas', 'torch']"


def test_help_loads_nothing_heavy_and_shows_an_example():
    shown = output_of(HELP.format(arguments=""))
    assert shown.splitlines()[-1] == "[]"
    assert "xample" in shown
    assert "modelstitch demo" in shown


def test_the_records_and_errors_load_no_torch():
    assert "torch" not in output_of("import modelstitch.records, modelstitch.figures").splitlines()[-1]


@pytest.mark.parametrize("name", modelstitch.__all__)
def test_each_public_name_resolves(name):
    assert getattr(modelstitch, name) is not None
    assert name in dir(modelstitch)


def test_an_unknown_name_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = modelstitch.no_such_name


def test_warnings_stay_silent_on_import():
    command = [sys.executable, "-W", "error", "-c", "import modelstitch"]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""
