"""bench/prove_zoo.py, whole, against a server that stands in for all hosts: files of true names and made content, and what goes wrong with them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from server import body, serve, status

from segzoo.manifest.document import packaged

ROOT = Path(__file__).parent.parent
MINI = ROOT / "segzoo" / "mini"
NAMES = {
    "good": "segmenter_vit-t_mask_8x1_512x512_160k_ade20k_20220105_151706-6a6bc5f4.pth",
    "wrong": "segmenter_vit-s_mask_8x1_512x512_160k_ade20k_20220105_151706-511bb103.pth",
    "gone": "segmenter_vit-b_mask_8x1_512x512_160k_ade20k_20220105_151706-bc533b08.pth",
    "large": "segmenter_vit-l_mask_8x1_640x640_160k_ade20k_20220614_024513-4783a347.pth",
    "dead": "segmenter_vit-s_linear_8x1_512x512_160k_ade20k_20220105_151713-39658c46.pth",
}


def entry(of: dict, name: str, *urls: str) -> dict:
    made = {key: value for key, value in of.items() if key not in ("counts", "reported", "pretrained")}
    checkpoint = {"name": name, "layout": "mmseg", "sha256_prefix": name[-12:-4], "provenance": "made for a test", "urls": list(urls)}
    return made | {"checkpoint": checkpoint}


@pytest.mark.slow
def test_each_entry_ends_as_it_must(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGZOO_HOME", str(tmp_path / "store"))
    content = (MINI / "segmenter_mini_mask-6a6bc5f4.pth").read_bytes()
    mini = yaml.safe_load((MINI / "zoo.yaml").read_text())
    table = {f"/a/{NAMES[key]}": body(content) for key in ("good", "wrong")} | {f"/a/{NAMES['large']}": body(bytes(5_000_000))}
    table |= {f"/a/{NAMES['gone']}": status(404)}
    with serve(table) as server:
        mask, dead = mini["models"]["mini-mask"], "http://127.0.0.1:9/a"
        models = {key: entry(mask, name, f"{server.base}/a/{name}") for key, name in NAMES.items()}
        models["good"]["checkpoint"]["urls"].insert(0, f"{dead}/{NAMES['good']}")
        models["dead"]["checkpoint"] |= {"urls": [f"{dead}/{NAMES['dead']}"], "size": 4_000_000}
        models["gone"]["checkpoint"] |= {"size": 4_000_000}
        shipped = yaml.safe_load(packaged("zoo.yaml").read_text())["models"]["vit-t-mask"]
        shipped |= {"protocol": mask["protocol"], "head": shipped["head"] | {"classes": 8}}
        models["beyond"] = entry(shipped, NAMES["large"], f"{server.base}/beyond")
        data = {"ade-mini": {key: value for key, value in mini["datasets"]["ade-mini"].items() if key != "path"}}
        copied = json.loads(json.dumps({"version": 1, "datasets": data, "models": models}))  # else YAML writes anchors
        (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(copied))
        command = [sys.executable, ROOT / "bench" / "prove_zoo.py", "--zoo", "zoo.yaml", "--max-size", "4MB", "-o", "proved"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 4, done.stdout + done.stderr
    found = {one["name"]: one for one in json.loads((tmp_path / "proved" / "proved.json").read_text())["entries"]}
    assert {name: one["status"] for name, one in found.items()} == {
        "good": "passed",
        "wrong": "failed",
        "gone": "not proved",
        "large": "too large",
        "dead": "not proved",
        "beyond": "too large",
    }
    assert "/beyond" not in server.seen, "its tensors alone are too large, so no server need be asked"
    assert {rung for rung, one in found["good"]["rungs"].items() if one["status"] == "passed"} == {"bytes", "names", "round trip", "numbers"}
    assert found["wrong"]["exit_code"] == 4
    assert "511bb103" in (tmp_path / "proved" / "failed" / "wrong.md").read_text()
    assert [path.stem for path in (tmp_path / "proved" / "failed").iterdir()] == ["wrong"]
    assert {path.name for path in (tmp_path / "proved" / "receipts").rglob("*.json")} == {"good.json", "wrong.json"}
    assert not [path for path in (tmp_path / "store" / "blobs").rglob("*") if path.is_file()], "files were to be removed"
    line = r"^\| `good` \| 3\.5 \| passed \| passed \| passed \| passed \| skipped \| passed \|$"
    summary = (tmp_path / "proved" / "summary.md").read_text()
    assert re.search(line, summary, re.M)
    assert re.search(r"^\| `beyond` \| ~26\.[0-9] \| ", summary, re.M)
    assert "HTTP 404" in summary
    assert "Connection refused" in summary

    page = tmp_path / "docs" / "measured.md"
    for name in ("docs/measured.py", "docs/measured.md", "bench/measured.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for _ in range(2):  # the second time over what the first has written
        subprocess.run([sys.executable, tmp_path / "docs" / "measured.py", tmp_path / "proved" / "proved.json"], check=True)
        assert page.read_text().count("| `good` | passed") == 1
    assert page.read_text().startswith((ROOT / "docs" / "measured.md").read_text().partition("<!-- zoo")[0])
