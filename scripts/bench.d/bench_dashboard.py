"""What the dashboard costs a browser with 500 instances: bytes and time of frames, on a desktop and on a slower phone."""

import json
import math
import pathlib
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop.d"))

import bench_supd
import bench_tools

PORT = 19520
SERVICES, REPLICAS = 5, 100
CLIENTS = 40

# Frames by their distance, and what the page works for one status: reading it, drawing it, and the layout that follows.
WATCH = """(async (seconds) => {
  const frames = [], works = [], timed = (work) => { const begin = performance.now(), value = work(); taken += performance.now() - begin; return value; };
  const { showStatus: show, draw: paint } = window, parse = JSON.parse;
  let taken = 0;
  JSON.parse = (text) => timed(() => parse(text));
  window.showStatus = (next) => { timed(() => show(next)); isDue = true; };
  window.draw = () => { timed(() => { paint(); document.body.offsetHeight; }); if (isDue) works.push(taken); isDue = false; taken = 0; };
  let isDue = false;
  const begin = performance.now();
  let last = begin;
  await new Promise((done) => {
    const frame = (now) => {
      frames.push(now - last);
      last = now;
      if (now < begin + seconds * 1000) requestAnimationFrame(frame); else done();
    };
    requestAnimationFrame(frame);
  });
  window.draw = paint;
  window.showStatus = show;
  JSON.parse = parse;
  return { frames, works };
})"""


def spread(values):
    """p50, p95 and the most of some milliseconds."""
    values = sorted(values)
    at = lambda share: values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]
    return [f"{value:.1f}" for value in (at(0.5), at(0.95), values[-1])]


class Bytes:
    """What came over the network since it was asked last, by kind."""

    def __init__(self, browser):
        self.browser = browser
        self.kinds = {}

    def take(self):
        """Bytes by kind, as Chromium counts them: heads and bodies."""
        self.browser.evaluate("0")
        found = {}
        for event in self.browser.events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Network.responseReceived":
                target = parameters["response"]["url"].split("/", 3)[3].split("?")[0]
                self.kinds[parameters["requestId"]] = {"v1/events": "events and status", "v1/usage": "past"}.get(target, "files")
            kind = self.kinds.get(parameters.get("requestId"))
            if method == "Network.loadingFinished" and kind != "events and status":
                found[kind or "files"] = found.get(kind or "files", 0) + parameters["encodedDataLength"]
            elif method == "Network.dataReceived" and kind == "events and status":
                # A stream has no end; it is not compressed.
                found[kind] = found.get(kind, 0) + parameters["dataLength"]
        self.browser.events.clear()
        return found


def kilobytes(found):
    return [f"{found.get(kind, 0) / 1000:.0f} KB" for kind in ("files", "events and status", "past")] + [
        f"{sum(found.values()) / 1000:.0f} KB"]


def run(workspace):
    from chromium import Browser
    seconds = 6 if workspace.quick else 12
    services = {
        f"s{number}": {
            "command": [str(workspace.binaries / "demo-service"), "--quiet"] if number == 1 else [str(workspace.compile("sleeper"))],
            "replicas": REPLICAS, "listen": PORT + number, "ready": "started"}
        for number in range(1, SERVICES + 1)}
    supd = bench_supd.Supd(workspace, services, settings={"web": {"listen": PORT}})
    supd.wait_ready()
    directory = workspace.directory("browser")
    browser = Browser(str(directory))
    clients = []
    try:
        rows, weights = [], []
        for name, width, height, mobile, throttle in [("desktop, 1280 × 900", 1280, 900, False, 1),
                                                      ("phone, 390 × 844, CPU 4 × slower", 390, 844, True, 4)]:
            browser.size(width, height, mobile)
            browser.call("Emulation.setCPUThrottlingRate", rate=throttle)
            browser.call("Page.navigate", url="about:blank")
            browser.events.clear()
            traffic = Bytes(browser)
            browser.call("Page.navigate", url=f"http://127.0.0.1:{PORT}/")
            bench_tools.eventually("the page shows all instances", lambda: browser.evaluate(
                "document.querySelectorAll('tr.instance').length") == SERVICES * REPLICAS, 60, 0.2)
            bench_tools.eventually("it has asked for the past", lambda: browser.evaluate(
                "askedPast.size > 0 && !isAskingPast"), 60, 0.2)
            first = browser.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
            start = traffic.take()
            weights.append([name, "to begin with", *kilobytes(start)])
            begun = time.monotonic()
            for place, scroll in [("services", "0"), ("flow", "document.querySelector('#flow').offsetTop")]:
                browser.evaluate(f"window.scrollTo(0, {scroll})")
                time.sleep(2.5)  # what comes into view is drawn
                for load in ("idle", "under load"):
                    # Connections come and go, so that every status has another picture of the flow.
                    while load == "under load" and len(clients) < CLIENTS:
                        clients.append(socket.create_connection(("127.0.0.1", PORT + 1), 10))
                    found = watch(browser, f"{WATCH}({seconds})", clients)
                    rows.append([name, place, load, *spread(found["works"]), *spread(found["frames"])])
                    while clients:
                        clients.pop().close()
            minutes = (time.monotonic() - begun) / 60
            found = {kind: count / minutes for kind, count in traffic.take().items()}
            weights.append([name, "a minute", *kilobytes(found)])
            print(f"{name}: the page's scripts have run after {first:.0f} ms")
        print()
        bench_tools.table(["page", "", "its files", "events and status", "the past", "all"], weights)
        print()
        bench_tools.table(["page", "in view", "", "a status drawn, p50 ms", "p95", "most", "a frame, p50 ms", "p95", "most"], rows)
        late = [row for row in rows if "desktop" in row[0] and float(row[7]) > 17]
        if late:
            print(f"p95 of a frame is more than one sixtieth of a second: {late}")
    finally:
        while clients:
            clients.pop().close()
        browser.end()


def watch(browser, expression, clients):
    """Has the page watch itself, while one client after the other comes anew."""
    browser.evaluate(f"window.watched = null; void {expression}.then((found) => {{ window.watched = JSON.stringify(found); }})")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if clients:
            for _ in range(4):
                clients.pop(0).close()
                clients.append(socket.create_connection(("127.0.0.1", PORT + 1), 10))
        time.sleep(0.5)
        text = browser.evaluate("window.watched")
        if text:
            return json.loads(text)
    raise bench_tools.BenchError("the page does not answer")
