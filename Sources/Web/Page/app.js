"use strict";
// The page: what the supervisor says, by server-sent events, put into the document. All text goes in as text, never as markup.

const byID = (id) => document.getElementById(id);

/** An element with attributes and children; texts among them stay texts. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Sets a text only where it is another: a screen reader is not told what has not changed, and nothing is laid out anew. */
function setText(element, text) { if (element.textContent !== text) element.textContent = text; }

// Words and numbers.

const stateKinds = {
  running: "good", completed: "good", idle: "rest", down: "rest", stopping: "warn", starting: "warn", waiting: "warn",
  degraded: "warn", draining: "warn", backoff: "bad", failed: "bad",
};
const kindOfState = (state) => stateKinds[state] ?? "warn";

function kindOf(instance) {
  if (instance.health && instance.health.state === "unhealthy") return "bad";
  if (instance.drained || (instance.state === "running" && !instance.ready)) return "warn";
  return kindOfState(instance.state);
}

function bytes(count) {
  if (count === null || count === undefined) return "";
  const units = ["B", "K", "M", "G", "T"];
  let unit = 0;
  while (count >= 1024 && unit < 4) { count /= 1024; unit += 1; }
  return (unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)) + " " + units[unit];
}

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}

function clock(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function eventText(event) {
  const because = event.reason ? `: ${event.reason}` : "";
  switch (event.kind) {
    case "state": return `${event.from ? event.from + " → " : ""}${event.to}${because}`;
    case "start": return `started as pid ${event.pid}${event.restarts ? `, restart ${event.restarts}` : ""}`;
    case "exit": return event.reason ?? "ended";
    case "startFailed": return `cannot start${because}`;
    case "probe": return ({ passing: "healthy again", failing: "a health probe has failed", unhealthy: "unhealthy" }[event.outcome] ?? event.outcome) + because;
    case "goal": return `is to be ${event.goal}`;
    case "drain": return event.drained ? "drained" : "undrained";
    case "gone": return "gone: the manifest does not ask for it";
    case "rollout": return `rollout: ${event.step}${because}`;
    case "scale": return `scaled from ${event.from} to ${event.to}${because}`;
    case "scaleHindered": return event.reason ? `cannot scale from ${event.from} to ${event.to}${because}` : "its load is no longer too much for what it can have";
    case "limit": return `limit ${event.limit} changed from ${event.old} to ${event.new} by ${event.by}`;
    case "command": return `${[event.verb, ...(event.names ?? [])].join(" ")}, asked for by ${event.by}`;
    case "apply": return `apply${event.manifest ? " " + event.manifest : ""} ${event.step}${because}${event.by ? `, asked for by ${event.by}` : ""}`;
    case "role": return `${event.role} ${event.step}${event.pid ? ` as pid ${event.pid}` : ""}${because}`;
    case "daemon": return `supd ${event.step}${event.version ? `, version ${event.version}` : ""}`;
    case "lost": return `${event.count} events could not be kept in time`;
    default: return event.kind;
  }
}

// Asking.

const tokenKey = "supd.token";
let canAct = false;
const token = () => sessionStorage.getItem(tokenKey);

async function ask(target, method = "GET") {
  const headers = {};
  if (method === "POST" && token()) headers.Authorization = `Bearer ${token()}`;
  const answer = await fetch(target, { method, headers, cache: "no-store" });
  const text = await answer.text();
  let value = null;
  try { value = JSON.parse(text); } catch { /* Said below. */ }
  if (!answer.ok) {
    if (answer.status === 401) { sessionStorage.removeItem(tokenKey); showActions(); }
    throw new Error(value?.error?.message ?? value?.message ?? `the answer was ${answer.status}`);
  }
  return value;
}

let toastTimer = null;
function toast(text) {
  const element = byID("toast");
  element.hidden = false;
  setText(element, text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { element.hidden = true; }, 6000);
}

async function act(target, done) {
  try {
    const answer = await ask(target, "POST");
    toast(answer?.message ? `${done}: ${answer.message}` : done);
  } catch (error) {
    toast(`Not done: ${error.message}`);
  }
}

/** Asks before something is done; with a number, for that. */
function confirmed(text, number) {
  const dialog = byID("confirm-dialog");
  setText(byID("confirm-text"), text);
  byID("confirm-label").hidden = number === undefined;
  byID("confirm-number").value = number ?? "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? Number(byID("confirm-number").value) : null);
    }, { once: true });
  });
}

// Services.

// Of many instances only those are drawn anew that somebody can see.
const seenRows = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const row = rowOf.get(entry.target);
    row.isSeen = entry.isIntersecting;
    if (row.isSeen) row.draw();
  }
}, { rootMargin: "200px" });
const rowOf = new WeakMap();

const table = document.querySelector("#services table");
const rows = new Map();
const series = new Map();

class Row {
  constructor(isService, name) {
    this.isService = isService;
    this.name = name;
    const cell = (label, kind) => make("td", { class: kind, "data-label": label });
    this.title = make("span");
    this.detail = make("span", { class: "detail" });
    this.state = make("span", { class: "state" });
    this.head = make("th", { scope: isService ? "rowgroup" : "row" }, this.title, this.detail);
    this.texts = {};
    this.plots = {};
    const figures = ["cpu", "memory", "connections"].map((figure) => {
      const label = { cpu: "CPU", memory: "Mem", connections: "Conn" }[figure];
      const td = cell(label, "number");
      this.texts[figure] = make("span");
      td.append(this.texts[figure]);
      if (!isService) {
        this.plots[figure] = new Plot();
        td.append(this.plots[figure].element);
      }
      return td;
    });
    this.restarts = cell("Restarts", "number wide");
    this.up = cell("Up", "wide");
    this.acts = make("td", { class: "acts" });
    this.element = make("tr", { class: isService ? "service" : "instance" }, this.head, make("td", {}, this.state), ...figures,
      this.restarts, this.up, this.acts);
    this.buttons = [];
    this.details = this.button("Details", () => showDetail(name));
    if (isService) {
      this.buttons = [
        this.button("Start", () => act(`v1/services/${name}/start`, `${name} is to start`)),
        this.button("Stop", async () => {
          if (await confirmed(`Stop ${name}? It stays down until it is started again.`) !== null) act(`v1/services/${name}/stop`, `${name} is to stop`);
        }),
        this.button("Restart", () => act(`v1/services/${name}/restart`, `${name} is to restart`)),
        this.button("Scale", async () => {
          const count = await confirmed(`How many replicas of ${name}?`, this.replicas);
          if (count !== null) act(`v1/services/${name}/scale?replicas=${count}`, `${name} is to have ${plural(count, "replica")}`);
        }),
      ];
    } else {
      this.buttons = [this.button("Restart", () => act(`v1/services/${name}/restart`, `${name} is to restart`))];
    }
  }
  button(text, action) {
    const button = make("button", { type: "button", "aria-label": `${text} ${this.name}` }, text);
    button.addEventListener("click", action);
    this.acts.append(button);
    return button;
  }
  /** Shows an instance, or will when it comes into view. */
  show(instance) {
    this.instance = instance;
    if (this.isSeen) this.draw();
  }
  draw() {
    const instance = this.instance;
    setText(this.detail, instance.detail ?? instance.statusText ?? "");
    const words = [instance.state];
    if (instance.drained) words.push("drained");
    if (instance.state === "running" && !instance.ready) words.push("not ready");
    if (instance.health && instance.health.state && instance.health.state !== "healthy") words.push(instance.health.state);
    this.setState(words.join(", "), kindOf(instance));
    setText(this.texts.cpu, percent(instance.cpuPercent));
    setText(this.texts.memory, bytes(instance.memoryBytes));
    setText(this.texts.connections, count(instance.flow?.connections));
    setText(this.restarts, count(instance.restarts));
    setText(this.up, duration(instance.uptimeSeconds));
    const seen = seriesOf(instance.id);
    this.plots.cpu.draw(seen.cpu, 5);
    this.plots.memory.draw(seen.memory, 1);
    this.plots.connections.draw(seen.connections, 4);
  }
  setState(text, kind) {
    setText(this.state, text);
    if (this.state.dataset.kind !== kind) this.state.dataset.kind = kind;
  }
}

function seriesOf(id) {
  let own = series.get(id);
  if (!own) series.set(id, own = { cpu: new Series(), memory: new Series(), connections: new Series() });
  return own;
}

const sum = (values) => values.some((value) => typeof value === "number") ? values.reduce((all, value) => all + (value ?? 0), 0) : null;
const percent = (value) => value === null || value === undefined ? "" : `${value.toFixed(value < 10 ? 1 : 0)} %`;
const count = (value) => value === null || value === undefined ? "" : String(value);

let status = null;
let pictureDue = false;

function showStatus(next) {
  const live = new Set();
  for (const service of next.services) {
    for (const instance of service.instances) {
      const own = seriesOf(instance.id);
      own.cpu.add(instance.cpuPercent);
      own.memory.add(instance.memoryBytes);
      own.connections.add(instance.flow?.connections ?? null);
      live.add(instance.id);
    }
  }
  for (const id of series.keys()) if (!live.has(id)) series.delete(id);
  status = next;
  if (!pictureDue) { pictureDue = true; requestAnimationFrame(draw); }
}

function draw() {
  pictureDue = false;
  if (!status) return;
  const wanted = byID("filter").value.trim().toLowerCase();
  const seen = new Set();
  let after = table.tHead, shown = 0;
  for (const service of status.services) {
    const matches = (text) => text.toLowerCase().includes(wanted);
    const isShown = !wanted || matches(service.name) || matches(service.state) || service.instances.some((i) => matches(i.state));
    let group = rows.get(service.name);
    if (!group) {
      group = { body: make("tbody"), row: new Row(true, service.name), instances: new Map() };
      group.body.append(group.row.element);
      rows.set(service.name, group);
    }
    seen.add(service.name);
    if (group.body.previousElementSibling !== after) after.after(group.body);
    after = group.body;
    group.body.hidden = !isShown;
    if (!isShown) continue;
    shown += 1;
    drawService(service, group);
  }
  for (const [name, group] of rows) if (!seen.has(name)) { group.body.remove(); rows.delete(name); }
  byID("nothing").hidden = shown > 0 || status.services.length === 0;
  const up = status.services.filter((service) => kindOfState(service.state) === "good" || service.state === "idle").length;
  const bad = status.services.filter((service) => kindOfState(service.state) === "bad");
  const trouble = bad.length ? `; look at ${bad.slice(0, 5).map((service) => service.name).join(", ")}` : "";
  setText(byID("summary"), `${up} of ${plural(status.services.length, "service")} as they should be${trouble}`);
  document.title = bad.length ? `(${bad.length}) supd` : "supd";
  drawFlow(wanted);
  if (shownDetail) drawDetail();
}

function drawService(service, group) {
  const row = group.row;
  row.replicas = service.replicas;
  setText(row.title, service.name);
  setText(row.detail, service.listen.join(", "));
  row.setState(`${service.state}, ${service.ready} of ${service.replicas} ready`, kindOfState(service.state));
  setText(row.texts.cpu, percent(sum(service.instances.map((i) => i.cpuPercent))));
  setText(row.texts.memory, bytes(sum(service.instances.map((i) => i.memoryBytes))));
  setText(row.texts.connections, count(sum((service.fronts ?? []).map((front) => front.connections))));
  setText(row.restarts, count(sum(service.instances.map((i) => i.restarts))));
  setButtons(row);
  let last = row.element;
  const ids = new Set();
  for (const instance of service.instances) {
    let own = group.instances.get(instance.id);
    if (!own) {
      own = new Row(false, instance.id);
      setText(own.title, instance.id);
      group.instances.set(instance.id, own);
      rowOf.set(own.element, own);
      own.instance = instance;
      own.draw();
      seenRows.observe(own.element);
    }
    ids.add(instance.id);
    if (own.element.previousElementSibling !== last) last.after(own.element);
    last = own.element;
    own.show(instance);
    setButtons(own);
  }
  for (const [id, own] of group.instances) if (!ids.has(id)) { seenRows.unobserve(own.element); own.element.remove(); group.instances.delete(id); }
}

function setButtons(row) {
  const hidden = !canAct || !token();
  for (const button of row.buttons) button.hidden = hidden;
}

const isNarrow = matchMedia("(max-width: 44rem)");
isNarrow.addEventListener("change", () => draw());

function drawFlow(wanted) {
  const place = byID("flow-picture");
  const balanced = status.services.filter((s) => s.fronts && s.fronts.length > 0 && (!wanted || s.name.includes(wanted)));
  const key = JSON.stringify([isNarrow.matches].concat(balanced.slice(0, 30).map((s) => [s.name, s.fronts.map((f) => [f.address, f.connections, f.connectionsTotal, f.queued]),
    s.instances.map((i) => [i.id, i.state, i.ready, i.drained, i.flow?.connections, i.flow?.connectionsTotal])])));
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  const pictures = balanced.slice(0, 30).map((service) => flowPicture(service, kindOf, isNarrow.matches));
  place.replaceChildren(...(pictures.length ? pictures : [make("p", {}, "No service has a front.")]));
}

// One service or instance in full.

let shownDetail = null;

function showDetail(name) {
  shownDetail = name;
  setText(byID("detail-title"), name);
  drawDetail();
  byID("detail-dialog").showModal();
  byID("why").replaceChildren();
  explain(name);
  openLog(name);
}

async function explain(name) {
  const place = byID("why");
  try {
    const report = await ask(`v1/why?name=${encodeURIComponent(name)}`);
    if (shownDetail !== name) return;
    place.replaceChildren(...report.supd.map((text) => make("p", {}, text)), ...report.answers.map(whyAnswer));
  } catch (error) {
    if (shownDetail === name) place.replaceChildren(make("p", {}, `No answer: ${error.message}`));
  }
}

function whyAnswer(answer) {
  const block = make("article", { class: "why" });
  const say = (text) => block.append(make("p", {}, text));
  const state = make("span", { class: "state", "data-kind": answer.isFine ? "good" : kindOfState(answer.state) }, answer.state);
  block.append(make("h4", {}, `${answer.name} is `, state, answer.since ? ` since ${clock(answer.since)}` : ""));
  if (answer.waitsFor) say(answer.waitsFor);
  if (answer.occasion) say(answer.occasion);
  for (const text of answer.besides) say(text);
  if (answer.restartsInLastHour > 0) say(`${plural(answer.restartsInLastHour, "restart")} in the last hour`);
  for (const exit of answer.exits) {
    const cause = exit.cause ? ` — ${exit.isGuess ? "probably " : ""}${exit.cause}` : "";
    say(`${clock(exit.at)}: ${exit.reason}${cause}`);
    if (exit.log.length) block.append(make("pre", { tabindex: "0", "aria-label": `The last lines before ${clock(exit.at)}` }, exit.log.join("\n")));
  }
  if (answer.help.length) block.append(make("p", { class: "help" }, `What may help: ${answer.help.join("; ")}`));
  return block;
}

function drawDetail() {
  const facts = [];
  const add = (term, value) => { if (value !== null && value !== undefined && value !== "") facts.push([term, String(value)]); };
  for (const service of status.services) {
    if (service.name === shownDetail) {
      add("State", `${service.state}; it is to be ${service.goal}`);
      add("Ready", `${service.ready} of ${service.replicas}`);
      add("The manifest says", service.scaledFrom === null || service.scaledFrom === undefined ? null : plural(service.scaledFrom, "replica"));
      add("Fronts", service.listen.join(", "));
      for (const front of service.fronts ?? []) {
        add(front.address, `${front.connections} open, ${front.connectionsTotal} in all, ${bytes(front.bytesIn)} in, ${bytes(front.bytesOut)} out, ${front.turnedAway ?? 0} turned away`);
      }
    }
    for (const instance of service.instances) {
      if (instance.id !== shownDetail) continue;
      add("State", instance.detail ? `${instance.state}: ${instance.detail}` : instance.state);
      add("It says", instance.statusText);
      add("Process", instance.pid);
      add("Port", instance.port);
      add("Up", duration(instance.uptimeSeconds));
      add("Restarts", instance.restarts);
      add("CPU", percent(instance.cpuPercent));
      add("Memory", bytes(instance.memoryBytes));
      if (instance.lastExit) add("Last end", `${instance.lastExit.reason} (${clock(instance.lastExit.at)})`);
      if (instance.flow) add("Connections", `${instance.flow.connections} open, ${instance.flow.connectionsTotal} in all`);
    }
  }
  const key = JSON.stringify(facts);
  const place = byID("detail-facts");
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  const list = make("dl");
  for (const [term, value] of facts) list.append(make("dt", {}, term), make("dd", {}, value));
  place.replaceChildren(list);
}

// The log of what is shown in full.

const mostLines = 1000;
let logSource = null;

function openLog(name) {
  closeLog();
  byID("log").replaceChildren();
  setText(byID("log-state"), "");
  const isService = !name.includes("/");
  logSource = new EventSource(`v1/logs?name=${encodeURIComponent(name)}&lines=200&follow=true`);
  // Lines have no numbers: a connection that is opened again begins again.
  logSource.addEventListener("open", () => { byID("log").replaceChildren(); setText(byID("log-state"), "live"); });
  logSource.addEventListener("line", (message) => showLine(JSON.parse(message.data), isService));
  logSource.addEventListener("error", () => setText(byID("log-state"), "connection lost, trying again"));
}

function closeLog() {
  logSource?.close();
  logSource = null;
}

function showLine(line, isService) {
  const list = byID("log");
  const item = make("li", {}, make("time", { datetime: line.time }, line.time.slice(11, 23)));
  if (isService) item.append(make("span", { class: "who" }, line.instance));
  if (line.stream === "stderr") item.append(make("span", { class: "error", title: "standard error" }, "!"));
  item.append(line.message);
  item.hidden = !matchesLine(item);
  list.append(item);
  while (list.children.length > mostLines) list.firstElementChild.remove();
  if (byID("log-follow").checked) list.scrollTop = list.scrollHeight;
}

function matchesLine(item) {
  const wanted = byID("log-filter").value.trim().toLowerCase();
  return !wanted || item.textContent.toLowerCase().includes(wanted);
}

// Events.

const mostEvents = 300;
let lastEvent = 0;

function showEvent(event) {
  // A number comes once, whatever is lost on the way.
  if (event.number <= lastEvent) return;
  lastEvent = event.number;
  const list = byID("event-list");
  const item = make("li", { "data-number": event.number },
    make("time", { datetime: event.at, title: event.at }, clock(event.at)),
    make("span", { class: "what" }, event.instance ?? event.service ?? "supd"), eventText(event));
  item.hidden = !matchesEvent(item);
  list.prepend(item);
  while (list.children.length > mostEvents) list.lastElementChild.remove();
}

function matchesEvent(item) {
  const wanted = byID("event-filter").value.trim().toLowerCase();
  return !wanted || item.textContent.toLowerCase().includes(wanted);
}

// The connection.

let source = null;

function setConnection(state, text) {
  const element = byID("connection");
  element.dataset.state = state;
  setText(element, text);
}

function connect() {
  source?.close();
  // A browser that reconnects by itself says the last number itself (Last-Event-ID); one that is opened anew has it here.
  source = new EventSource(lastEvent ? `v1/events?after=${lastEvent}` : "v1/events");
  source.addEventListener("open", () => setConnection("live", "live"));
  source.addEventListener("hello", (message) => {
    canAct = JSON.parse(message.data).actions === "yes";
    showActions();
  });
  source.addEventListener("status", (message) => { setConnection("live", "live"); showStatus(JSON.parse(message.data)); });
  source.addEventListener("away", () => setConnection("lost", "the supervisor does not answer"));
  source.addEventListener("event", (message) => showEvent(JSON.parse(message.data)));
  source.addEventListener("error", () => {
    setConnection("lost", "connection lost, trying again");
    // Refused for good, as when too many pages are open: the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
  });
}

function showActions() {
  const isUnlocked = canAct && token() !== null;
  byID("unlock").hidden = !canAct;
  setText(byID("unlock"), isUnlocked ? "Lock actions" : "Unlock actions");
  byID("rollback").hidden = !isUnlocked;
  draw();
}

byID("unlock").addEventListener("click", () => {
  if (token()) { sessionStorage.removeItem(tokenKey); showActions(); return; }
  byID("token").value = "";
  byID("token-dialog").showModal();
});
byID("token-form").addEventListener("submit", () => {
  sessionStorage.setItem(tokenKey, byID("token").value.trim());
  byID("token").value = "";
  showActions();
});
byID("token-cancel").addEventListener("click", () => byID("token-dialog").close());
byID("confirm-form").addEventListener("submit", (event) => { event.preventDefault(); byID("confirm-dialog").close("yes"); });
byID("confirm-cancel").addEventListener("click", () => byID("confirm-dialog").close(""));
byID("why-again").addEventListener("click", () => { if (shownDetail) explain(shownDetail); });
byID("detail-close").addEventListener("click", () => byID("detail-dialog").close());
byID("detail-dialog").addEventListener("close", () => { shownDetail = null; closeLog(); });
byID("log-filter").addEventListener("input", () => {
  for (const item of byID("log").children) item.hidden = !matchesLine(item);
});
byID("log-follow").addEventListener("change", (event) => {
  if (event.target.checked) byID("log").scrollTop = byID("log").scrollHeight;
});
byID("rollback").addEventListener("click", async () => {
  if (await confirmed("Go back to the last good manifest that is not in force?") !== null) act("v1/rollback", "Going back");
});
byID("filter").addEventListener("input", draw);
byID("event-filter").addEventListener("input", () => {
  for (const item of byID("event-list").children) item.hidden = !matchesEvent(item);
});
// What nobody looks at need not be sent: a page in the background lets go of its connection.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { source?.close(); source = null; setConnection("wait", "paused"); } else if (!source) connect();
});
connect();
