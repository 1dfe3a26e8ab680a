# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A real browser without a window, led over its debugging pipe: opens pages, runs scripts in them.

Messages of the DevTools protocol are JSON, each ended by NUL, on descriptors 3 and 4.
"""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)

# Ends the browser's whole group, and does so too where the test itself was killed.
LIMIT = ("timeout", "--signal=KILL", "1200")


class Page:
    """A tab."""

    def __init__(self, read, write):
        self._read, self._write, self._number = read, write, 0
        self.messages = []  # events: what a page logs and the errors it meets
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            data = bytearray()
            while (byte := self._read.read(1)) != b"\0":
                assert byte, "the browser ended"
                data += byte
            found = json.loads(data)
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]
            self.messages.append(found)

    def open(self, url, width=1280, height=900, dark=False):
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def resize(self, width, height):
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip

    def run(self, script):
        """Returns the value of an expression."""
        found = self._call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition, timeout_s=120.0):
        """Waits until an expression is true."""
        end = time.monotonic() + timeout_s
        while not self.run(condition):
            assert time.monotonic() < end, f"not within {timeout_s} s: {condition}"
            self.run("new Promise((done) => setTimeout(done, 20))")

    def press(self, key, ctrl=False):
        """Presses and releases a key, as a person does."""
        codes = {"Enter": 13, "Escape": 27, "ArrowRight": 39}
        event = dict(key=key, modifiers=2 if ctrl else 0, windowsVirtualKeyCode=codes[key])
        for kind in ("rawKeyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, **event)

    def point(self, selector):
        """Moves the mouse to an element."""
        x, y = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
            ".getClientRects()[0]; return [b.left + b.width / 2, b.top + b.height / 2]; })()"
        )
        self._call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, path, whole=False):
        """Writes what the page looks like, as PNG, to be looked at while working on it."""
        found = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(found["data"]))

    def complaints(self):
        """Returns errors of scripts, and what the browser refused to load or run."""
        self.run("0")  # reads what is left
        methods = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [m["params"] for m in self.messages if m.get("method") in methods]

    def requests(self):
        """Returns the addresses that the page asked for."""
        self.run("0")
        return [
            m["params"]["request"]["url"]
            for m in self.messages
            if m.get("method") == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def browser(profile):
    """Gives a tab of a browser, and ends the browser."""
    (their_read, write), (read, their_write) = os.pipe(), os.pipe()
    words = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
        "--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
    ]  # fmt: skip
    script = f'exec "$@" 3<&{their_read} 4>&{their_write}'
    with open(os.devnull, "r+b") as null:
        process = subprocess.Popen(
            [*LIMIT, "bash", "-c", script, "bash", *words],
            stdin=null, stdout=null, stderr=null, start_new_session=True,
            pass_fds=(their_read, their_write),
        )  # fmt: skip
    os.close(their_read)
    os.close(their_write)
    try:
        with os.fdopen(read, "rb", buffering=0) as reader, os.fdopen(write, "wb") as writer:
            yield Page(reader, writer)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
