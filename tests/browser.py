"""A headless Chromium spoken to through its DevTools protocol over two pipes: no port, no library."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

EXECUTABLE = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ("--headless", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
SECONDS = 120


class Browser:
    """One page. What it said and asked for is kept in `events`."""

    def __init__(self, profile: Path) -> None:
        command = [EXECUTABLE, *FLAGS, f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")  # it has none for root
        (theirs_in, self.to), (self.back, theirs_out) = os.pipe(), os.pipe()
        # It reads from descriptor 3 and writes to 4; put ours above them, so that the shell can place them there.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        place = f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}'
        shell = ["bash", "-c", place, "bash", *command]
        self.process = subprocess.Popen(shell, pass_fds=ends, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        self.count, self.rest, self.events, self.session = 0, b"", [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: object) -> dict[str, Any]:
        """What a method of the protocol answers."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": arguments}
        message |= {"sessionId": self.session} if self.session else {}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (said := self.read()).get("id") != self.count:
            self.events.append(said)
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']}")
        return said["result"]

    def read(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            if not select.select([self.back], [], [], SECONDS)[0]:
                raise TimeoutError("the browser says nothing")
            if not (read := os.read(self.back, 1 << 20)):
                raise RuntimeError("the browser has ended")
            self.rest += read
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, awaited where it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description"))
        return answer["result"].get("value")

    def open(self, file: Path, width: int, height: int, scheme: str) -> None:
        """A file from disk, in a window of that size, light or dark."""
        self.visit(file.as_uri(), width, height, scheme)

    def visit(self, address: str, width: int, height: int, scheme: str) -> None:
        """A page, in a window of that size, light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=address)
        self.wait(f"document.readyState == 'complete' && location.href.startsWith({json.dumps(address)})")

    def choose_file(self, selector: str, file: Path) -> None:
        """Give a file to an input, as its dialogue would."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self.call("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])

    def picture(self, file: Path) -> None:
        """What the window shows, as a PNG."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def wait(self, condition: str) -> None:
        """Until it holds."""
        until = time.monotonic() + SECONDS
        while not self.evaluate(condition):
            assert time.monotonic() < until, condition
            time.sleep(0.05)

    def problems(self, own: tuple[str, ...] = ("file:", "data:")) -> list[dict[str, Any]]:
        """What the page complained of, and what it asked for at addresses that are not its `own`."""
        kinds = ("Runtime.exceptionThrown", "Log.entryAdded")
        said = [event for event in self.events if event.get("method") in kinds]
        said += [
            event
            for event in self.events
            if event.get("method") == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning")
        ]
        asked = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return said + [event for event in asked if not event["params"]["request"]["url"].startswith(own)]

    def close(self) -> None:
        """End this browser, and no other."""
        self.call("Browser.close")
        self.process.wait(SECONDS)
        os.close(self.to)
        os.close(self.back)
