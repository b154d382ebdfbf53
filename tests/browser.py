"""A real headless Chromium, driven over a pipe by its own protocol: no library, and no port that others could use."""

import itertools
import json
import os
import select
import shutil
import subprocess
import time
from contextlib import contextmanager

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_ALONE = ("background-networking", "component-update", "sync", "gpu", "quic", "default-apps", "extensions")
_PATIENCE = 60  # seconds
_CODES = {"Enter": 13, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40}


class Page:
    """A page of the browser. `requests` are the addresses that it has asked for. What a person would save goes into `downloads`."""

    def __init__(self, ours, theirs, downloads):
        self.ours, self.theirs, self.rest, self.numbers = ours, theirs, b"", itertools.count(1)
        self.session, self.requests = None, []
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Network.enable")

    def call(self, method, **parameters):
        """The answer of the browser to a command."""
        number = next(self.numbers)
        asked = {"id": number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.ours, json.dumps(asked).encode() + b"\0")
        until = time.monotonic() + _PATIENCE
        while True:
            message = self._message(until)
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    def _message(self, until):
        while b"\0" not in self.rest:
            assert select.select([self.theirs], [], [], max(until - time.monotonic(), 0))[0], "the browser does not answer"
            part = os.read(self.theirs, 1 << 16)
            assert part, "the browser has ended"
            self.rest += part
        one, _, self.rest = self.rest.partition(b"\0")
        return json.loads(one)

    def run(self, script):
        """The value of an expression in the page, awaited."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, script):
        """The value of an expression, once it is true."""
        until = time.monotonic() + _PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < until, script
            time.sleep(0.1)
        return value

    def drop(self, selector, *files):
        """Give files to the input that the selector finds, as a person does by choosing or dropping them."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def drag(self, *paths):
        """Let files and folders fall on the middle of the page, as a file manager does."""
        dragged = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=300, y=300, data=dragged)

    def press(self, *keys):
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_CODES[key])


@contextmanager
def chromium(folder, downloads):
    """A page of a browser that keeps its own files in `folder`."""
    (theirs_in, ours), (theirs, theirs_out) = os.pipe(), os.pipe()
    options = ["--headless", "--no-sandbox", "--no-first-run", *(f"--disable-{one}" for one in _ALONE), "--remote-debugging-pipe"]
    line = ["bash", "-c", f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}', CHROMIUM, *options, f"--user-data-dir={folder}", "about:blank"]
    done = subprocess.Popen(line, pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours, theirs, downloads)
    finally:
        os.close(ours)  # which ends it
        os.close(theirs)
        try:
            done.wait(10)
        except subprocess.TimeoutExpired:
            done.kill()
            done.wait()
