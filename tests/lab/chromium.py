"""A page in headless Chromium, over the two pipes that it speaks its DevTools protocol on."""

import base64
import contextlib
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60
"""Seconds after which an answer is given up."""


def find():
    """Where Chromium is; None where it is not installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab, with what it logged and what it asked the network for."""

    def __init__(self, asks, answers):
        self.asks, self.answers, self.buffer, self.last = asks, answers, b"", 0
        self.problems, self.requests, self.session = [], [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Ask the browser for something and wait for its answer."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.asks, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self.last:
                assert "error" not in heard, heard["error"]
                return heard["result"]

    def _hear(self):
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self.answers], [], [], left)
            assert ready, "Chromium does not answer"
            heard = os.read(self.answers, 1 << 20)
            assert heard, "Chromium has gone"
            self.buffer += heard
        text, _, self.buffer = self.buffer.partition(b"\0")
        heard = json.loads(text)
        self._note(heard.get("method"), heard.get("params", {}))
        return heard

    def _note(self, method, params):
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.problems.append([a.get("value", a.get("description")) for a in params["args"]])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(params["exceptionDetails"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.problems.append(params["entry"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, path, fragment="", width=1280, height=900, dark=False):
        """Load a file in a window of that size and wait until it has run its scripts."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="about:blank")
        self.problems.clear()
        self.requests.clear()
        self.call("Page.navigate", url=pathlib.Path(path).resolve().as_uri() + fragment)
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def run(self, expression):
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression):
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    def press(self, key):
        """A key, as if typed."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, path, **options):
        """A PNG of what is seen."""
        shot = self.call("Page.captureScreenshot", format="png", **options)
        pathlib.Path(path).write_bytes(base64.b64decode(shot["data"]))


LAUNCH = """
import os, sys
kept = [os.dup(int(wire)) for wire in sys.argv[1:3]]
for wire, place in zip(kept, (3, 4)):
    os.dup2(wire, place)
    os.set_inheritable(place, True)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads from descriptor 3 and writes to 4; a child puts the pipes there."""


@contextlib.contextmanager
def page(folder):
    """A fresh browser with one tab, gone afterwards; `folder` holds its profile."""
    asks_out, asks = os.pipe()
    answers, answers_in = os.pipe()
    wires = asks_out, answers_in
    browser = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, *map(str, wires), find(), *FLAGS,
         f"--user-data-dir={folder}"],
        pass_fds=wires, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for wire in wires:
        os.close(wire)
    try:
        yield Page(asks, answers)
    finally:
        browser.terminate()
        browser.wait(10)
        os.close(asks)
        os.close(answers)
