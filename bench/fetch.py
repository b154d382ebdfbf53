"""`segzoo fetch` against curl, aria2, torch.hub, huggingface_hub and a serial loop, in the same run, over loopback.

    python bench/fetch.py [--megabytes 1024] [--kills 200] [--peers PYTHON] [--record]

A real nginx serves the files; curl and nginx must be there, aria2c, and torch and huggingface_hub in the
environment of PYTHON, are measured where they are. Reports wall and CPU seconds (user + system) of whole
processes, the least of three runs, and the ratios. Only curl with sha256sum, aria2c and segzoo end with the
whole file held to its hash.
"""

import argparse
import hashlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import record
import requests
import yaml

from segzoo.manifest.artifact import Artifact
from segzoo.store import fetch as download
from segzoo.store.fetched import Fetched
from segzoo.store.http import Patience
from segzoo.store.policy import Policy
from segzoo.store.store import Store

RUNS = 3
CLAIM = (
    "`segzoo fetch` over loopback. One file from nginx: wall time and CPU as a share of those of curl with sha256sum. Eight connections against one "
    "where a server limits each; many small files against a serial loop. After kill -9: bytes of the last run and of all, as a share of the file."
)
Figures = dict[str, dict[str, float | str]]
NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log crit; worker_processes 2;
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log; sendfile on; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2;
  fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  log_format bytes '$body_bytes_sent'; access_log {folder}/bytes.log bytes;
  server {{
    listen 127.0.0.1:{port}; root {folder}/www;
    location /slow/ {{ alias {folder}/www/; limit_rate {rate}; }}
    location /lab/model/resolve/main/ {{ alias {folder}/www/; add_header X-Repo-Commit 0123456789012345678901234567890123456789; }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


@contextmanager
def nginx(folder: Path, port: int, rate: str) -> Iterator[str]:
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, rate=rate))
    running = subprocess.Popen(["nginx", "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        for _ in range(100):
            time.sleep(0.05)
            try:
                requests.head(f"http://127.0.0.1:{port}/", timeout=1)
                break
            except requests.ConnectionError:
                continue
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


def served(folder: Path) -> int:
    """Bytes of bodies that nginx has sent so far."""
    time.sleep(0.2)
    log = folder / "bytes.log"
    return sum(int(line) for line in log.read_text().split() if line.isdecimal()) if log.exists() else 0


def zoo(folder: Path, url: str, sha256: str, size: int) -> Path:
    geometry = {"width": 64, "depth": 1, "heads": 1, "mlp": 64, "patch": 16, "grid": 2}
    source = {"name": "a.npz", "layout": "augreg", "sha256": sha256, "size": size, "urls": [url]}
    path = folder / "zoo.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "backbones": {"a": {"title": "a", "file": "a.pth", "source": source, "geometry": geometry}}}))
    return path


def measured(command: list[object], home: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a process and its children."""
    begun, before = time.perf_counter(), os.times()
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SEGZOO_HOME": str(home)})
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begun, cpu


def one_file(folder: Path, base: str, sha256: str, size: int, peers: str) -> Figures:
    """One file: fetch, and what people do instead. Each as a share of curl with sha256sum."""
    url = f"{base}/large"
    out, home = folder / "out", folder / "home"
    check = f"echo '{sha256}  {out}' | sha256sum -c --quiet"
    hub = f"import torch.hub as h; h.download_url_to_file({url!r}, {str(out)!r}, hash_prefix={sha256!r}, progress=False)"
    commands: dict[str, list[object]] = {
        "curl, then sha256sum": ["sh", "-c", f"curl -s -o {out} {url} && {check}"],
        "segzoo fetch": [sys.executable, "-m", "segzoo", "--zoo", zoo(folder, url, sha256, size), "fetch", "a", "-q"],
    }
    if shutil.which("aria2c"):
        commands["aria2c -x8, checksum"] = ["aria2c", "-q", "-x8", "-s8", "-k1M", f"--checksum=sha-256={sha256}", "-d", folder, "-o", "out", url]
    if importable(peers, "torch"):
        commands["torch.hub, check_hash"] = [peers, "-c", hub]
    if importable(peers, "huggingface_hub"):
        code = f"from huggingface_hub import hf_hub_download as d; d('lab/model', 'large', endpoint={base!r}, cache_dir={str(home / 'hub')!r})"
        commands["huggingface_hub, no hash"] = ["env", "HF_HUB_DISABLE_XET=1", "HF_HUB_DISABLE_PROGRESS_BARS=1", peers, "-c", code]
    best: dict[str, tuple[float, float]] = {}
    for _ in range(RUNS):
        for name, command in commands.items():
            shutil.rmtree(home, ignore_errors=True)
            out.unlink(missing_ok=True)
            run = measured(command, home)
            best[name] = tuple(map(min, zip(best.get(name, run), run, strict=True)))  # type: ignore[assignment]
    base = best["curl, then sha256sum"]
    for name, (wall, cpu) in best.items():
        print(f"  {name:24}{wall:8.2f} s wall{wall / base[0]:7.2f}{cpu:8.2f} s CPU{cpu / base[1]:7.2f}")
    return {name: {"wall": wall / base[0], "CPU": cpu / base[1]} for name, (wall, cpu) in best.items()}


def importable(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def limited(folder: Path, size: int, rate: int) -> float:
    """How many times as fast eight connections are as one, of a server that limits each connection. nginx would limit each request."""
    data = os.urandom(size)
    sha256 = hashlib.sha256(data).hexdigest()

    class Slow(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            self.begun, self.sent = time.perf_counter(), 0

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            first, last = wanted.removeprefix("bytes=").split("-") if wanted else ("0", "")
            begin, end = int(first), min(int(last or size - 1) + 1, size)
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
            self.send_header("Content-Length", str(end - begin))
            self.end_headers()
            for position in range(begin, end, 1 << 16):
                chunk = data[position : min(position + (1 << 16), end)]
                self.wfile.write(chunk)
                self.sent += len(chunk)
                time.sleep(max(0.0, self.begun + self.sent / rate - time.perf_counter()))

        def log_message(self, *_: object) -> None: ...

    walls = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/x"
    for connections in (1, 8):
        store = Store(folder / f"limited{connections}", folder / "lock")
        policy = Policy(patience=Patience(connections=connections, several=1 << 20))
        begun = time.perf_counter()
        download.fetch(Artifact(name="a", urls=(url,), sha256=sha256, size=size), store, folder, policy=policy)
        walls[connections] = time.perf_counter() - begun
    server.shutdown()
    server.server_close()
    print(f"  1 connection {walls[1]:.2f} s, 8 connections {walls[8]:.2f} s: {walls[1] / walls[8]:.1f} times as fast")
    return walls[1] / walls[8]


def small_files(folder: Path, count: int = 200, latency: float = 0.05) -> float:
    """Many small files, each answered after a while: how many times as fast as a serial loop."""
    contents = {f"f{number}": os.urandom(20_000) for number in range(count)}

    class Late(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            time.sleep(latency)
            data = contents[self.path[1:]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Late) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        begun = time.perf_counter()
        with requests.Session() as session:
            for name, data in contents.items():
                assert session.get(f"{base}/{name}", timeout=10).content == data
        serial = time.perf_counter() - begun
        artifacts = {
            name: Artifact(name=name, urls=(f"{base}/{name}",), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
            for name, data in contents.items()
        }
        begun = time.perf_counter()
        got = dict(download.fetch_many(artifacts, Store(folder / "many", folder / "lock"), folder, lambda *_: None))
        ours = time.perf_counter() - begun
        assert all(isinstance(one, Fetched) for one in got.values())
        server.shutdown()
    print(f"  serial loop on one connection {serial:.2f} s, segzoo {ours:.2f} s: {serial / ours:.1f} times as fast")
    return serial / ours


def killed(folder: Path, url: str, sha256: str, size: int, times: int, upto: float) -> dict[str, float | str]:
    """kill -9, and again: what is fetched at last and in all, as a share of the file; nothing wrong or left over is in the store at the end."""
    home, chance, begun = folder / "killed", random.Random(3), served(folder)
    shutil.rmtree(home, ignore_errors=True)
    command = [sys.executable, "-m", "segzoo", "--zoo", str(zoo(folder, url, sha256, size)), "fetch", "a", "-q"]
    environment = {**os.environ, "SEGZOO_HOME": str(home)}

    def arrived() -> int:
        return max((path.stat().st_size for path in home.glob("partials/*.part") if path.exists()), default=0)

    for _ in range(times):
        running = subprocess.Popen(command, env=environment)
        mark = size // 2 if times == 1 else arrived() + chance.randrange(int(size * upto / times))
        while arrived() < mark and running.poll() is None:
            time.sleep(0.002)
        running.kill()
        running.wait()
    before = served(folder)
    subprocess.run(command, env=environment, check=True)
    left = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert [path.name for path in left] == [sha256]
    assert hashlib.sha256(left[0].read_bytes()).hexdigest() == sha256
    last, whole = (served(folder) - before) / size, (served(folder) - begun) / size
    print(f"  {times} kill(s), then to the end: {last:.3f} of the bytes at last, {whole:.2f} in all; the file is right, nothing is left over")
    return {"bytes at last": last, "bytes in all": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--peers", default=sys.executable, help="a Python that has torch or huggingface_hub")
    record.add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "www").mkdir()
        sizes = {"large": options.megabytes << 20, "middle": 64 << 20}
        hashes = {}
        for file, size in sizes.items():
            data = random.Random(size).randbytes(1 << 20) * (size >> 20)
            (folder / "www" / file).write_bytes(data)
            hashes[file] = hashlib.sha256(data).hexdigest()
        with nginx(folder, free_port(), "4m") as base:
            print(f"one file of {options.megabytes} MiB, unthrottled; ratios to curl followed by sha256sum")
            figures = one_file(folder, base, hashes["large"], sizes["large"], options.peers)
            print("64 MiB from a server that gives each connection 4 MiB/s")
            figures["8 connections, each limited"] = {"times as fast": limited(folder, 64 << 20, 4 << 20)}
            print("200 files of 20 kB, each answered after 50 ms")
            figures["200 small files"] = {"times as fast": small_files(folder)}
            print("kill -9, 64 MiB")
            for kills, upto, case in ((1, 0.5, "killed at half"), (options.kills, 0.9, f"killed {options.kills} times")):
                figures[case] = killed(folder, f"{base}/slow/middle", hashes["middle"], sizes["middle"], kills, upto)
    if options.record:
        record.keep(CLAIM, figures, record.versions(options.peers, "huggingface-hub"))


if __name__ == "__main__":
    main()
