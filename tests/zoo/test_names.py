"""What a name that a person types stands for."""

import pytest
from click.testing import CliRunner

from segzoo.cli import main
from segzoo.zoo.names import known_name

ZOO = ("vit-b", "vit-b-mask", "deit-s-upernet", "segformer-b2", "segformer-b2-cityscapes", "setr-pup", "a-b", "b-a")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("vit-b-mask", "vit-b-mask"),
        ("upernet-deit-s", "deit-s-upernet"),
        ("mask-vit-b", "vit-b-mask"),
        ("segformer-b2-ade", "segformer-b2"),
        ("segformer-b2-ade20k", "segformer-b2"),
        ("cityscapes-segformer-b2", "segformer-b2-cityscapes"),
        ("setr-pup-ade", "setr-pup"),
        ("a-b", "a-b"),
        ("a-b-ade", None),  # two have these words
        ("segformer", None),
        ("b2", None),
        ("ade", None),
        ("", None),
    ],
)
def test_words_in_another_order_are_the_same_name(typed, found):
    assert known_name(typed, dict.fromkeys(ZOO, 0)) == found


def test_a_name_in_another_order_is_taken_by_commands(tmp_path):
    done = CliRunner().invoke(main, ["info", "upernet-deit-s"])
    assert (done.exit_code, "upernet_deit-s16_512x512_160k" in done.stdout) == (0, True)
    done = CliRunner().invoke(main, ["--zoo", "mini", "export", "vit-mini", "-o", str(tmp_path / "out"), "--as", "timm"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(main, ["--zoo", "mini", "verify", "vit-mini"])
    assert "mini-vit" in done.stdout
    done = CliRunner().invoke(main, ["--zoo", "mini", "receipt", "check", "vit-mini"])
    assert done.exit_code == 0, done.output
