"""Every block of the README runs, and prints what the README says it prints."""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import typed
from modelstitch.support.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks_of(text: str) -> list[tuple[str, str]]:
    """The language and the text of each block of code."""
    return re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL)


BLOCKS = blocks_of(README)
NUMBER = re.compile(r"[+-]?\d+\.\d+")

# Rounding differs between processors, and one of the 299 test images more or less is 0.33 points.
TOLERANCE = 1.5


def same(found: str, written: str) -> bool:
    """Equal words, and numbers that differ by no more than a few test images."""
    if NUMBER.sub("#", found).split() != NUMBER.sub("#", written).split():
        return False
    pairs = zip(NUMBER.findall(found), NUMBER.findall(written), strict=True)
    return all(abs(float(a) - float(b)) <= TOLERANCE for a, b in pairs)


def test_same_tells_other_words_and_other_numbers() -> None:
    assert same("A  +1.00", "A +1.33")
    assert not same("A +1.00", "B +1.00")
    assert not same("A +1.00", "A +9.00")


@pytest.mark.parametrize(("page", "blocks"), [("README.md", 2), ("docs/measures.md", 1), ("docs/connectivity.md", 1)])
def test_python_blocks_print_what_stands_below_them(page: str, blocks: int) -> None:
    names: dict[str, object] = {}
    shown = 0
    found = blocks_of((ROOT / page).read_text(encoding="utf-8"))
    for (kind, code), (following, text) in zip(found, [*found[1:], ("", "")], strict=True):
        if kind != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, names)
        assert following == "text"
        assert same(printed.getvalue(), text), f"the README says\n{text}\nand the code prints\n{printed.getvalue()}"
        shown += 1
    assert shown == blocks


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (text for kind, text in BLOCKS if kind == "sh")
    printed = ""
    for line in block.splitlines():
        program, *arguments = shlex.split(line)
        assert program == "modelstitch"
        ended = typed(*arguments, cwd=tmp_path)
        assert ended.code == 0, f"{line}\n{ended.err}"
        printed += ended.out
    assert (tmp_path / "penalty.html").stat().st_size > 100_000
    assert "nets/seed0" in printed


def test_the_script_is_installed() -> None:
    done = subprocess.run([Path(sys.executable).with_name("modelstitch"), "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"modelstitch {VERSION}\n"), done.stderr


def test_make_targets_named_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"make ([a-z]+)", README))
    assert named
    assert named <= targets


PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    local = [link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link]
    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


def test_tables_come_from_the_records(tmp_path: Path) -> None:
    """The tables in the pages are what docs/build.py makes of the committed records."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import build
    finally:
        sys.path.remove(str(ROOT / "docs"))
    made = build.tables()
    found = [(name, body) for page in build.PAGES for _, name, body in _tables(page.read_text(encoding="utf-8"))]
    assert {name for name, _ in found} == made.keys()
    for name, body in found:
        assert body.strip() == made[name].strip(), name


def _tables(text: str) -> list[tuple[str, str, str]]:
    return re.findall(r"(<!-- table: (\w+) -->)\n(.*?)<!-- end -->", text, re.DOTALL)
