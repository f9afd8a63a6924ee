"""Debian's Chromium, without a window, driven by the DevTools protocol over two
pipes: no port to find, no package to install. A page is opened at a width and
in light or dark; what it asked the network for and what it complained about
is kept."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import tempfile

# The sandbox wants a user namespace, which containers do not give.
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # which is small in a container
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--remote-debugging-pipe",
)
_COMPLAINTS = ("Runtime.exceptionThrown", "Log.entryAdded")
# What is in a picture: colours that occur, the share of the most frequent one,
# and the brightness of the upper left corner.
_LOOK = """(async (data) => {
  const picture = new Image();
  picture.src = 'data:image/png;base64,' + data;
  await picture.decode();
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext('2d');
  context.drawImage(picture, 0, 0);
  const bytes = context.getImageData(0, 0, canvas.width, canvas.height).data;
  const counts = new Map();
  for (const pixel of new Uint32Array(bytes.buffer)) {
    counts.set(pixel, (counts.get(pixel) || 0) + 1);
  }
  return {
    colours: counts.size,
    most: Math.max(...counts.values()) / (canvas.width * canvas.height),
    corner: (bytes[0] + bytes[1] + bytes[2]) / 3,
  };
})"""


def _above_9(descriptor: int) -> int:
    """Out of the way of 3 and 4, where Chromium expects its pipes."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10)
    os.close(descriptor)
    return copy


class Browser:
    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(
            prefix="octet-chromium-", ignore_cleanup_errors=True
        )
        commands, self._commands = map(_above_9, os.pipe())
        self._answers, answers = map(_above_9, os.pipe())
        self._process = subprocess.Popen(
            [
                *(
                    "bash",
                    "-c",
                    f'exec "$@" 3<&{commands} 4>&{answers}',
                    "bash",
                ),
                *("chromium", *_FLAGS),
                *(f"--user-data-dir={self._profile.name}", "about:blank"),
            ],
            pass_fds=(commands, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._sent = 0
        self.events: list[dict] = []

    def close(self) -> None:
        self.call("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        self._profile.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def receive(self) -> dict:
        while b"\0" not in self._buffer:
            data = os.read(self._answers, 1 << 16)
            assert data, "Chromium is gone"
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method: str, session: str | None = None, **params) -> dict:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        while True:
            answer = self.receive()
            if answer.get("id") == message["id"]:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)


def look(browser: Browser, png: bytes) -> dict:
    """What is in a picture; the browser can read what it wrote."""
    page = Page(browser, "about:blank", 800, dark=False)
    try:
        return page.evaluate(f"{_LOOK}('{base64.b64encode(png).decode()}')")
    finally:
        page.close()


class Page:
    """A page of a browser, loaded."""

    def __init__(self, browser: Browser, url: str, width: int, dark: bool):
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")[
            "targetId"
        ]
        self._session = browser.call(
            "Target.attachToTarget", targetId=self._target, flatten=True
        )["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme"}
        scheme["value"] = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        while not self._events("Page.loadEventFired"):
            browser.events.append(browser.receive())

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **params) -> dict:
        return self._browser.call(method, self._session, **params)

    def _events(self, *methods: str) -> list[dict]:
        return [
            event["params"]
            for event in self._browser.events
            if event.get("method") in methods
            and event.get("sessionId") == self._session
        ]

    def evaluate(self, expression: str):
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[dict]:
        """Errors, warnings, and whatever was written to the console."""
        return self._events(*_COMPLAINTS, "Runtime.consoleAPICalled")

    def requests(self) -> list[str]:
        return [
            event["request"]["url"]
            for event in self._events("Network.requestWillBeSent")
        ]

    def picture(self, selector: str | None = None) -> bytes:
        """A PNG of the whole page, or of the first such element."""
        if selector is None:
            box = self.evaluate(
                "({x: 0, y: 0, width: innerWidth,"
                " height: document.documentElement.scrollHeight})"
            )
        else:
            box = self.evaluate(
                "(() => { const r = document.querySelector("
                f"{json.dumps(selector)}).getBoundingClientRect();"
                " return {x: r.x + scrollX, y: r.y + scrollY,"
                " width: r.width, height: r.height}; })()"
            )
        self.call("Page.bringToFront")  # others are not painted
        shot = self.call(
            "Page.captureScreenshot",
            format="png",
            captureBeyondViewport=True,
            clip={**box, "scale": 1},
        )
        return base64.b64decode(shot["data"])
