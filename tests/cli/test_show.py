"""Lines on a terminal of a given width."""

import sys

import pytest

from segzoo.cli.terminal.show import show


@pytest.fixture
def shown(capsys, monkeypatch):
    def lines(text, columns):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("NO_COLOR", "1")
        show(text)
        return capsys.readouterr().out.splitlines()

    return lines


def test_a_figure_keeps_its_unit(shown):
    assert shown("a.jpg: sky 41.8 %, ring 1.6 %", 28) == ["a.jpg: sky 41.8 %, ring", "  1.6 %"]
    assert shown("models of at most 200 MB, 2.5 images/s", 36) == ["models of at most 200 MB,", "  2.5 images/s"]
    assert shown("there are 40 sheep", 14) == ["there are 40", "  sheep"]


def test_a_word_longer_than_the_line_is_indented_as_the_line_was(shown):
    word = 30 * "x"
    assert shown(f"  {word} and more", 20) == [f"  {word}", "    and more"]
    assert shown(f"      {word}", 20) == [f"      {word}"]


def test_what_fits_stays_as_it_is(shown):
    assert shown("    four  blanks ", 17) == ["    four  blanks "]
