"""The page of a report: what it says is what receipts say, it needs nothing else, and hostile texts stay texts."""

import base64
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from support import MINI

from segzoo.cli import main
from segzoo.evaluation.counts import Counts, mean_iou
from segzoo.manifest.document import packaged
from segzoo.publishing.report import beside, plots
from segzoo.publishing.report.examples import extremes
from segzoo.publishing.report.facts import Score, Section
from segzoo.publishing.report.heading import Heading, heading
from segzoo.publishing.report.make import overview, section_of
from segzoo.store.store import home
from segzoo.zoo.loading import loaded
from segzoo.zoo.zoo import open_zoo


def segzoo(*arguments, zoo="mini"):
    done = CliRunner().invoke(main, ["--zoo", str(zoo), *map(str, arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


class Page(HTMLParser):
    """The texts of a page, and all that it would load."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.loads, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("src", "srcset", "data", "poster") or (name in ("href", "xlink:href") and tag != "a"):
                self.loads.append(value)
        assert tag != "script"
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the receipts of two entries, made once."""
    folder = tmp_path_factory.mktemp("verified")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGZOO_HOME", str(folder))
        segzoo("verify", "mini-vit", "mini-linear", "--images", "20", "--mode", "ss", "--mode", "ms+flip-1.x", "--device", "cpu")
    return folder


@pytest.fixture
def verified(store):
    shutil.copytree(store, home(), dirs_exist_ok=True)
    return {path.stem: json.loads(path.read_text()) for path in (home() / "receipts" / "mini").glob("*.json")}


def test_the_page_says_what_the_receipts_say(verified, tmp_path):
    done = segzoo("report", "--device", "cpu", "-o", tmp_path / "page")
    assert done.exit_code == 0, done.output
    html = (tmp_path / "page" / "index.html").read_text()
    page = Page(html)
    assert page.open == []
    assert all(source.startswith(("data:image/jpeg;base64,", "data:image/png;base64,", "#")) for source in page.loads)
    assert not re.search(r"@import|url\((?!#)", html)
    said = re.sub(r"\s+", " ", " ".join(page.texts))
    facts = {check["rung"]: check for check in verified["mini-linear"]["checks"]}
    score = facts["mIoU"]["facts"]["modes"]["ss"]
    low, high = re.search(r"95 % interval ([\d.]+) to ([\d.]+)", facts["mIoU"]["detail"]).groups()
    for text in (facts["bytes"]["facts"]["sha256"], facts["mIoU"]["basis"]["data_digest"], f"{low} to {high}", f"{score['measured']['mIoU']:.2f}"):
        assert text in said
    assert all(f"{values['IoU']:.2f}" in said and name in said for name, values in score["per_class"].items())
    assert "segzoo --zoo mini verify mini-linear --again --images 20 --mode ss --mode ms+flip-1.x --device cpu --precision fp32" in said
    assert page.texts.count("consistent") == 3  # in both tables and under the heading
    matrix = np.array(score["confusion"])[:-1]
    np.fill_diagonal(matrix, 0)
    assert f"{matrix.max():,}" in said
    # the pictures: best, median and worst of 20, four each, and the same files beside the Markdown
    assert len([source for source in page.loads if source.startswith("data:image/jpeg")]) == 12
    markdown = (tmp_path / "page" / "report.md").read_text()
    named = re.findall(r"\]\(pictures/([^)]*)\)", markdown)
    assert sorted(named) == sorted(path.name for path in (tmp_path / "page" / "pictures").iterdir())
    assert len(named) == 12 + 2 + 1 + 1  # with the plots of two forward passes, the confusion matrix and the figures
    assert "consistent" in markdown
    assert not re.search(r"seen again, its counts", said)
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_the_rules_for_print_come_last():
    """Of two rules of the same weight the later counts: above the others they would set nothing."""
    style = (packaged("mini/zoo.yaml").parents[1] / "pages" / "report.css").read_text()
    assert style.count("@media print") == 1
    assert not re.search(r"^\S", style.split("@media print {")[1].split("\n}\n")[1], re.MULTILINE)


CLASSES = ("sky", "sea", "boat")
MATRIX = np.array([[90, 10, 0], [5, 5, 0], [0, 0, 0]])
SCORE = Score("ss", {"mIoU": 50.0, "aAcc": 60.0, "mAcc": 55.0}, None, 0.1, None, None, None, 2, 2, [], [], {"a": None, "b": None}, CLASSES, MATRIX)


def section(name, score, *, parameters=None, speed=None, hardware="a GPU", digest="d"):
    basis = {"data_digest": digest, "protocol": {"dataset": "coast"}, "device": "cuda", "precision": "fp32", "modes": ["ss"]}
    facts = {"hardware": hardware} | ({"speed": {"images_per_second": speed}} if speed else {})
    checks = {"mIoU": {"status": "skipped", "short": "50.00", "detail": "", "basis": basis, "facts": facts}}
    return Section(name, name, 2, {}, passed=True, checks=checks, scores=[score], parameters=parameters, dataset="coast")


def test_a_confusion_matrix_has_each_row_in_percent_of_itself():
    svg = plots.matrix(SCORE)
    (picture,) = re.findall(r'xlink:href="data:image/png;base64,([^"]*)"', svg)
    cells = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")).astype(int)
    assert cells.shape == (3, 3, 4)
    strength = cells[..., 3] / 255
    assert strength == pytest.approx(0.8 * np.sqrt(np.array([[0.9, 0.1, 0], [0.5, 0.5, 0], [0, 0, 0]])), abs=0.01)
    blue = cells[..., 2] > cells[..., 0]
    assert (blue[0, 0], blue[1, 1], blue[0, 1], blue[1, 0]) == (True, True, False, False)
    many = replace(SCORE, classes=[f"class {index}" for index in range(30)], matrix=np.eye(30, dtype=np.int64))
    assert Page(plots.matrix(many)).open == []
    assert plots.matrix(replace(SCORE, matrix=None)) is None


def test_models_stand_side_by_side_if_they_saw_the_same_images():
    one = replace(SCORE, per_class=[("sea", 80.0, 1.0), ("sky", 70.0, 1.0), ("boat", None, None)])
    other = replace(one, measured={"mIoU": 49.0, "aAcc": 61.0, "mAcc": 55.0}, per_class=[("sky", 70.0, 1.0), ("sea", 60.0, 1.0), ("boat", 5.0, None)])
    here, there = section("a", one, parameters=2_500_000), section("b", other, speed=3.5)
    (group,) = beside.groups([here, section("c", one, digest="another"), there, section("d", replace(one, per_image={"a": None}))])
    assert (group.names, group.images, group.mode) == (["a", "b"], 2, "ss")
    rows = {what: (list(figures), best) for what, _, figures, best in [*group.whole, *group.classes]}
    assert rows == {
        "mIoU": ([50.0, 49.0], 50.0),
        "aAcc": ([60.0, 61.0], 61.0),
        "mAcc": ([55.0, 55.0], None),
        "parameters, millions": ([2.5, None], None),
        "images/s": ([None, 3.5], None),
        "sky": ([70.0, 70.0], None),
        "sea": ([80.0, 60.0], 80.0),
        "boat": ([None, 5.0], None),
    }
    assert beside.groups([here]) == beside.groups([here, replace(there, changed=["protocol"])]) == []


def test_the_cost_is_images_a_second_of_one_machine_or_else_parameters():
    fast, slow = section("a", SCORE, parameters=4_000_000, speed=20.0), section("b", SCORE, parameters=2_000_000, speed=5.0)
    found = beside.cost([fast, slow])
    assert found.kind == "images/s"
    assert found.groups == {"coast, ss, 2 of 2 images": [("a", 20.0, 50.0), ("b", 5.0, 50.0)]}
    assert "on a GPU, cuda, fp32" in found.caption
    found = beside.cost([fast, slow, section("c", SCORE, parameters=1_000_000, speed=9.0, hardware="a CPU"), section("d", SCORE)])
    assert found.kind == "parameters, millions"
    assert found.groups == {"coast, ss, 2 of 2 images": [("a", 4.0, 50.0), ("b", 2.0, 50.0), ("c", 1.0, 50.0)]}
    assert Page(plots.against(found)).open == []
    assert beside.cost([fast, section("d", SCORE)]) is None  # one dot
    assert beside.cost([fast, replace(slow, changed=["protocol"])]) is None
    apart = beside.cost([fast, section("b", SCORE, parameters=1, digest="e" * 64)]).groups
    assert [*apart] == ["coast d, ss, 2 of 2 images", "coast eeeeeeee, ss, 2 of 2 images"]


def test_models_that_were_not_measured_stand_by_what_is_reported_of_them():
    def offered(name, miou, size, dataset="coast"):
        return Section(name, name, 2, {"ss": miou}, parameters=size, dataset=dataset)

    one, other = offered("a", 40.0, 4_000_000), offered("b", 45.0, 90_000_000)
    found = beside.reported([one, other, offered("c", 80.0, 9_000_000, "town"), section("d", SCORE)])
    assert found.groups == {"coast": [("a", 4.0, 40.0), ("b", 90.0, 45.0)], "town": [("c", 9.0, 80.0)]}
    assert beside.reported([one, section("d", SCORE, parameters=1)]) is None


def test_of_many_models_those_are_named_that_none_is_cheaper_and_better_than():
    points = [("large", 9.0, 50.0), ("small", 1.0, 40.0), ("poor", 9.5, 45.0), ("worse", 9.0, 45.0), ("twin", 1.0, 40.0)]
    points += [(f"x{number}", 10.0, 30.0) for number in range(8)]
    cost = beside.Cost("parameters, millions", {"coast": points}, "Told.")
    assert [name for name, _, _ in cost.ahead("coast")] == ["small", "twin", "large"]
    assert cost.caption == "Told. A line joins those that no smaller one is ahead of. coast: small, twin, large."
    assert [name for name, _, _ in replace(cost, speed=True).ahead("coast")] == [*(f"x{number}" for number in range(8)), "poor", "large"]
    assert Page(plots.against(cost)).open == []
    assert replace(cost, groups={"coast": points[:12]}).caption == "Told."


def test_all_letters_of_a_plot_are_in_the_colours_of_the_page():
    """Black ones, which the dark page would hide, have no colour in the SVG."""
    small = plots.scattered({"a": [(0.8, 1.0), (3.5, 2.0)]}, "size, MB", "seconds")
    for svg in (small, plots.matrix(SCORE), plots.against(beside.Cost("millions", {"a": [("b", 1.0, 40.0), ("c", 90.0, 50.0)]}, ""))):
        letters = re.findall(r'<g id="text_\d+">\s*(<g [^>]*>)', svg)
        assert letters
        assert all('fill="#' in one for one in letters)


def test_the_page_of_a_zoo_that_nobody_has_verified_shows_what_is_reported(tmp_path):
    done = CliRunner().invoke(main, ["report", "setr-naive", "setr-pup", "vit-t", "-o", str(tmp_path / "page")])
    assert done.exit_code == 0, done.output
    assert "not measured here" in (tmp_path / "page" / "report.md").read_text()
    assert "Not measured here: reported mIoU against size" in (tmp_path / "page" / "index.html").read_text()
    assert (tmp_path / "page" / "pictures" / "reported.svg").is_file()


def test_parameters_are_those_that_torch_counts(verified):
    zoo = open_zoo("mini")
    counted = section_of("mini-linear", zoo.manifest.models["mini-linear"], zoo, "").parameters
    assert counted == sum(one.numel() for one in loaded("mini-linear", zoo).module.parameters())


def test_a_caption_tells_only_what_is_drawn():
    score = Score("ss", {"mIoU": 50.0}, None, 0.1, None, None, None, 2, 2, [], [], {})
    lone, two = (overview([Section("a", "A", 2, {}, scores=scores)]) for scores in ([score], [score, replace(score, mode="whole")]))
    assert lone is None
    assert two.alt == "A dot is the mIoU that was measured."
    both = overview([Section("a", "A", 2, {}, scores=[replace(score, reported=50.1, low=49.0, high=51.0)])])
    assert "95 % interval" in both.alt
    assert "the bar the reported figure" in both.alt


def test_findings_come_first_and_the_ladder_is_folded(verified, tmp_path):
    segzoo("report", "mini-linear", "--device", "cpu", "-o", tmp_path)
    facts = {check["rung"]: check for check in verified["mini-linear"]["checks"]}
    hashes = (facts["bytes"]["facts"]["sha256"], facts["mIoU"]["basis"]["data_digest"])
    html, markdown = (tmp_path / "index.html").read_text(), (tmp_path / "report.md").read_text()
    for text, last in ((html, "image/jpeg"), (markdown, "-worst-disagreement.jpg")):
        places = [text.index(f"{facts['mIoU']['facts']['modes']['ss']['measured']['mIoU']:.2f}"), text.index("IoU of each class"), text.rindex(last)]
        assert places == sorted(places)
        assert all(text.index(one) > places[-1] for one in hashes)
    folded = "".join(re.findall(r"<details>(.*?)</details>", html, re.DOTALL))  # nothing failed, so none is open
    assert all(one in folded and html.count(one) == folded.count(one) for one in hashes)
    assert html.count("<details") == html.count("<summary>") == 3


def test_on_a_narrow_page_figures_stand_beside_their_names(verified, tmp_path):
    """The first column of what may be wider than the page stays in sight, and the figures come next to it."""
    segzoo("report", "--no-images", "-o", tmp_path)
    html = (tmp_path / "index.html").read_text()
    heads = [re.findall(r"<th(?: [^>]*)?>(.*?)</th>", table) for table in re.findall(r'<div class="wide">\s*<table>(.*?)</table>', html, re.DOTALL)]
    assert [head[:3] for head in heads if "mIoU" in head[:3]] == [["name", "mIoU", "reported"], ["mode", "mIoU", "reported"]]
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)[1]
    assert re.search(r"\.wide td:first-child \{[^}]*position: sticky; left: 0; background: var\(--paper\)", style)
    rows = re.findall(r"<table(?: class=\"(\w+)\")?>", html)
    assert len(heads) + rows.count("facts") == len(rows)  # every other table may be wider than the page


def test_a_ladder_that_failed_is_not_folded(verified, tmp_path):
    path = home() / "receipts" / "mini" / "mini-linear.json"
    record = verified["mini-linear"]
    for check in record["checks"]:
        status, short, code = ("failed", "failed", 4) if check["rung"] == "bytes" else ("skipped", "-", 0)
        check |= {"status": status, "short": short, "code": code, "detail": "as it was", "facts": {}, "basis": {}}
    path.write_text(json.dumps(record | {"passed": False}))
    done = segzoo("report", "mini-linear", "-o", tmp_path, "--no-images")
    assert done.stdout.startswith("mini-linear: failed: bytes\n"), done.output
    assert (tmp_path / "index.html").read_text().count("<details open>") == 1


@pytest.mark.parametrize("author", ["A <b>Seer</b>", None])
def test_a_page_has_a_title_a_note_and_the_author_of_gits_config(author, verified, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text(f"[user]\n\tname = {author}\n" if author else "")
    segzoo("report", "mini-vit", "-o", "page", "--title", "Ours & <i>theirs</i>", "--note", "For Ada.\n\n<script>1</script>")
    html = (tmp_path / "page" / "index.html").read_text()
    assert Page(html).open == []
    assert html.count("Ours &amp; &lt;i&gt;theirs&lt;/i&gt;") == 2
    assert "<p>For Ada.</p>\n<p>&lt;script&gt;1&lt;/script&gt;</p>" in html
    byline = re.search(r"</h1>\s*<p class=\"muted\">(.*?)\. From the receipts", html)[1]
    assert re.fullmatch(r"(A &lt;b&gt;Seer&lt;/b&gt;, )?2[-\d]+T[\d:+]+", byline)
    assert ("Seer" in byline) is (author is not None)
    assert segzoo("report", "--catalogue", "RUN", "--title", "x").exit_code == 2


def test_without_git_there_is_no_author(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert heading("mini") == Heading("segzoo report: mini", (), "")


@pytest.mark.slow
def test_its_command_makes_the_same_receipt_again(verified, tmp_path):
    segzoo("report", "mini-linear", "--no-images", "-o", tmp_path)
    (command,) = re.findall(r"^segzoo --zoo mini (verify .*)$", (tmp_path / "report.md").read_text(), re.MULTILINE)
    segzoo(*command.split())
    again = json.loads((home() / "receipts" / "mini" / "mini-linear.json").read_text())
    changing = {"time", "seconds", "peak_memory"}

    def still(record):
        if isinstance(record, dict):
            return {key: still(value) for key, value in record.items() if key not in changing}
        return [still(one) for one in record] if isinstance(record, list) else record

    assert still(again) == still(verified["mini-linear"])


def test_what_is_not_verified_is_said_to_be_so(verified, tmp_path):
    done = segzoo("report", "--all", "--no-images", "-o", tmp_path)
    assert "mini-mask: not verified yet" in done.stdout
    html = (tmp_path / "index.html").read_text()
    assert "segzoo --zoo mini verify mini-mask" in html
    assert "No pictures: left out, as asked" in html
    assert "<img" not in html


def test_without_receipts_there_is_no_page(tmp_path):
    done = segzoo("report", "-o", tmp_path / "page")
    assert done.exit_code == 7
    assert not (tmp_path / "page").exists()


def test_a_failure_stands_on_the_page(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"
    lab.write_text(lab.read_text().replace("miou: 86.71", "miou: 80.0"))
    assert segzoo("verify", "mini-linear", "--images", "all", "--device", "cpu", zoo=lab).exit_code == 6
    done = segzoo("report", "-o", tmp_path / "page", zoo=lab)
    assert done.exit_code == 0
    assert "mini-linear: failed: mIoU" in done.stdout
    assert "86.71 measured, 80.00 reported: refuted" in (tmp_path / "page" / "index.html").read_text()


def test_data_that_are_not_here_or_others_leave_the_rest_of_the_page(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"
    segzoo("verify", "mini-linear", "--images", "12", "--device", "cpu", zoo=lab)
    (lab.parent / "ade_mini" / "images" / "validation" / "ADE_val_00000003.jpg").unlink()
    done = segzoo("report", "-o", tmp_path / "page", zoo=lab)
    assert done.exit_code == 0
    assert "no pictures of images: images are missing for 1 labels" in done.stderr
    assert "No pictures: images are missing for 1 labels" in (tmp_path / "page" / "index.html").read_text()


def test_a_strangers_texts_are_no_markup(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"
    text = lab.read_text().replace("title: Segmenter Linear, 3 blocks", "title: '<script>alert(1)</script> | [x](javascript:y)'")
    lab.write_text(text.replace("      sky:", "      '<b>sky</b>|`x`':"))
    segzoo("verify", "mini-linear", "--images", "12", "--device", "cpu", zoo=lab)
    assert segzoo("report", "-o", tmp_path / "page", "--device", "cpu", zoo=lab).exit_code == 0
    html = (tmp_path / "page" / "index.html").read_text()
    assert Page(html).open == []
    assert "<b>sky" not in html
    assert "<script" not in html
    markdown = (tmp_path / "page" / "report.md").read_text()
    assert r"\<b\>sky\</b\>\|\`x\`" in markdown
    assert "](javascript" not in markdown.replace(r"\]", "")


def test_a_damaged_receipt_is_named(verified, tmp_path):
    path = home() / "receipts" / "mini" / "mini-linear.json"
    path.write_text(path.read_text().replace('"confusion"', '"konfusion"'))
    done = segzoo("report", "-o", tmp_path / "page", "--no-images")
    assert done.exit_code == 4
    assert "ms+flip-1.x.confusion: expected this field, found none; it was edited or cut short" in done.stderr
    assert "mini-linear: receipt broken\n" in done.stdout
    assert "mini-vit: passed\n" in done.stdout  # the others stay
    path.write_text(path.read_text()[:3000])
    done = segzoo("report", "-o", tmp_path / "page", "--no-images", "--json")
    assert done.exit_code == 4
    assert json.loads(done.stdout)["result"]["verdicts"]["mini-linear"] == "receipt broken"


def test_a_receipt_that_contradicts_itself_confirms_nothing(verified, tmp_path):
    path = home() / "receipts" / "mini" / "mini-linear.json"
    record = json.loads(path.read_text())
    record["checks"][4]["facts"]["modes"]["ss"]["measured"]["mIoU"] = 99.9
    path.write_text(json.dumps(record))
    done = segzoo("report", "-o", tmp_path / "page", "--no-images")
    assert done.exit_code == 4
    assert "mini-linear: receipt broken\n" in done.stdout
    for page in ("index.html", "report.md"):
        text = (tmp_path / "page" / page).read_text()
        assert "mIoU, ss: the counts give" in text.replace("\\", "")
        assert "receipt broken" in text
        assert text.count("99.9") == 2  # only as what is wrong, by the word for its rung and by its counts


def test_a_word_that_no_run_wrote_and_a_rung_that_is_gone_stand_on_no_page(verified, tmp_path):
    path = home() / "receipts" / "mini" / "mini-linear.json"
    record = json.loads(path.read_text())
    record["checks"][4]["short"] = "99.99"
    path.write_text(json.dumps(record))
    done = segzoo("report", "-o", tmp_path / "page", "--no-images")
    assert done.exit_code == 4
    text = (tmp_path / "page" / "report.md").read_text()
    assert "| 86.71 | receipt broken |" in text
    assert text.count("99.99") == 1  # said once, as what is wrong
    path.write_text(json.dumps(record | {"checks": verified["mini-linear"]["checks"][:2] + verified["mini-linear"]["checks"][3:]}))
    done = segzoo("report", "-o", tmp_path / "page", "--no-images")
    assert (done.exit_code, "its rungs are bytes, names, numbers, mIoU, expected" in done.stderr) == (4, True)


def test_a_receipt_that_is_handed_on_is_copied_into_the_report(verified, tmp_path, monkeypatch):
    """As a colleague has it, who never ran anything: the hint says where to."""
    ours = tmp_path / "our receipt.json"
    shutil.move(home() / "receipts" / "mini" / "mini-linear.json", ours)
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "new home"))
    done = segzoo("report", ours, "-o", tmp_path / "page", "--no-images")
    assert done.exit_code == 7
    assert f"error: '{ours}' is a receipt of mini-linear\n" in done.stderr
    check, copy = re.fullmatch(r".*\nhint: segzoo (.*) checks it; (.*) puts it into the report\n", done.stderr, re.DOTALL).groups()
    assert segzoo(*shlex.split(check.removeprefix("--zoo mini "))).exit_code == 0
    subprocess.run(copy, shell=True, check=True)
    done = segzoo("report", "-o", tmp_path / "page", "--no-images")
    assert (done.exit_code, "mini-linear: consistent\n" in done.stdout) == (0, True)
    done = segzoo("report", ours, "-o", tmp_path / "page", "--no-images")
    assert "checks it; the report uses your own receipt, " in done.stderr
    done = segzoo("report", home() / "receipts" / "mini" / "mini-linear.json", "-o", tmp_path / "page", "--no-images")
    assert done.stderr.endswith(" checks it; segzoo --zoo mini report mini-linear makes its page\n")
    done = segzoo("report", ours, "-o", tmp_path / "page", "--no-images", zoo="shipped")
    assert done.stderr.endswith(" checks it; for the report, give the zoo that has mini-linear with --zoo\n")


def test_another_page_is_not_replaced(verified, tmp_path):
    (tmp_path / "index.html").write_text("<title>my page</title>")
    done = segzoo("report", "-o", tmp_path, "--no-images")
    assert (done.exit_code, [path.name for path in tmp_path.iterdir()]) == (2, ["index.html"])
    assert "index.html: there is another page of this name" in done.stderr
    for _ in range(2):  # its own is
        assert segzoo("report", "-o", tmp_path / "page", "--no-images").exit_code == 0


def test_a_receipt_of_an_earlier_manifest_says_so(tmp_path):
    lab = shutil.copytree(MINI, tmp_path / "lab") / "zoo.yaml"
    segzoo("verify", "mini-linear", "--images", "12", "--device", "cpu", zoo=lab)
    lab.write_text(lab.read_text().replace("stride: 48", "stride: 32").replace("miou: 86.71", "miou: 86.7"))
    done = segzoo("report", "-o", tmp_path / "page", "--no-images", zoo=lab)
    assert done.exit_code == 0
    assert "mini-linear: outdated: protocol, reported\n" in done.stdout


WITHOUT_JAX = """
import sys
class NoJax:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "jaxlib"):
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
sys.meta_path.insert(0, NoJax())
from segzoo.__main__ import main
main()
"""


@pytest.mark.slow
def test_a_page_needs_no_jax(verified, tmp_path):
    command = [sys.executable, "-c", WITHOUT_JAX, "--zoo", "mini", "report", "--device", "cpu", "-o", tmp_path / "page"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "mini-linear: consistent\n" in done.stdout
    assert "torch against JAX" in (tmp_path / "page" / "index.html").read_text()  # as the receipt says
    assert len([*(tmp_path / "page" / "pictures").iterdir()]) == 12 + 2 + 1 + 1


def test_best_median_and_worst_are_by_the_images_own_miou(verified):
    facts = {check["rung"]: check for check in verified["mini-linear"]["checks"]}["mIoU"]["facts"]
    counts = {name: Counts.from_sparse(rows, 8) for name, rows in facts["modes"]["ss"]["per_image"].items()}
    scored = {name: mean_iou(one) for name, one in counts.items()}
    found = extremes(counts)
    assert scored[found["best"]] == max(scored.values())
    assert scored[found["worst"]] == min(scored.values())
    assert sum(score >= scored[found["median"]] for score in scored.values()) == 10
    worst = extremes(counts, 4)
    assert [*worst] == ["best", "median", "worst", "worst-2", "worst-3", "worst-4"]
    assert [scored[name] for which, name in worst.items() if "worst" in which] == sorted(scored.values())[:4]
    assert len({*extremes(counts, 50).values()}) == len(extremes(counts, 50)) == 20  # each image once
    assert extremes({"dark": Counts(*np.zeros((3, 8), np.int64))}) == {}


def test_the_same_receipts_give_the_same_plots(verified, tmp_path):
    for name in "ab":
        segzoo("report", "--no-images", "-o", tmp_path / name)
    for path in (tmp_path / "a" / "pictures").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "pictures" / path.name).read_bytes()
        assert not re.search(r'(height|width)="[\d.]+pt"', path.read_text().split(">")[0])
