"""Progress: silence away from a terminal, one display for nested bars on it, the items always as they came."""

import io
import sys

import pytest

from modelstitch.support import progress
from modelstitch.support.progress import track


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    # Some environments declare every terminal dumb, on which nothing is drawn.
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()

    def plugged_in():
        # In the test's own time: pytest puts its own stderr back between a fixture and the test.
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return plugged_in


def test_away_from_a_terminal_it_is_silent(capsys):
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_says_what_is_done(capsys, terminal):
    stream, found = terminal(), []
    for item in track("abc", "letters", 3):
        found.append(item)
        progress._display.refresh()
    assert found == ["a", "b", "c"]
    assert "letters" in stream.getvalue()
    assert "2/3" in stream.getvalue()
    assert capsys.readouterr().out == ""
    assert progress._display is None


def test_nested_bars_share_one_display(terminal):
    stream, displays = terminal(), set()
    for _ in track("ab", "outer", 2):
        for _ in track("cd", "inner", 2):
            displays.add(progress._display)
            progress._display.refresh()
        assert [task.description for task in progress._display.tasks] == ["outer"]
    assert len(displays) == 1
    assert "inner" in stream.getvalue()
    assert progress._display is None


def test_an_error_inside_closes_the_display(terminal):
    terminal()

    def failing():
        yield 1
        assert progress._display is not None
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        list(track(failing(), "letters", 3))
    assert progress._display is None


def test_a_loop_left_early_closes_the_display(terminal):
    terminal()
    for _ in track("abc", "letters", 3):
        assert progress._display is not None
        break
    assert progress._display is None
