"""Headless Chromium by its debugging pipe. Nothing but Python's own library is needed."""

import base64
import json
import os
import select
import subprocess
import time


class Browser:
    """Chromium, spoken to by JSON that ends with a NUL on descriptors 3 and 4."""

    def __init__(self, directory):
        """Starts it with its own files in a directory, which also takes what it has to say and the screenshots."""
        self.directory = directory
        to_read, self.to_write = os.pipe()
        self.from_read, from_write = os.pipe()

        def arrange():
            # dup2 onto the same number would leave it close-on-exec.
            a, b = os.dup(to_read), os.dup(from_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={directory}/chromium", "about:blank"],
            pass_fds=(3, 4), preexec_fn=arrange, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(f"{directory}/chromium.log", "wb"))
        os.close(to_read)
        os.close(from_write)
        self.buffer, self.last, self.events, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Security"):
            self.call(f"{domain}.enable")

    def receive(self, until):
        while b"\0" not in self.buffer:
            if not select.select([self.from_read], [], [], max(0, until - time.monotonic()))[0]:
                return None
            piece = os.read(self.from_read, 1 << 20)
            if not piece:
                raise SystemExit("failed Chromium has ended: see chromium.log")
            self.buffer += piece
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + 30
        while True:
            answer = self.receive(until)
            if answer is None:
                raise SystemExit(f"failed {method} has no answer")
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise SystemExit(f"failed {method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            return f"exception: {result['exceptionDetails'].get('exception', {}).get('description')}"
        return result["result"].get("value")

    def key(self, key, code=None, modifiers=0):
        virtual = {"Tab": 9, "Enter": 13, "Escape": 27}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key, windowsVirtualKeyCode=virtual,
                      modifiers=modifiers, **text)

    def size(self, width, height, mobile):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if mobile else 1,
                  mobile=mobile)

    def scheme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, name):
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(f"{self.directory}/{name}.png", "wb") as file:
            file.write(base64.b64decode(data))

    def end(self):
        self.process.terminate()
        self.process.wait(20)
