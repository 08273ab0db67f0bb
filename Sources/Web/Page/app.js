"use strict";
// The page: what the supervisor says, by server-sent events, put into the document.

// Asking.

const tokenKey = "supd.token";
let canAct = false;
const token = () => sessionStorage.getItem(tokenKey);

async function askText(target, method = "GET") {
  const headers = {};
  if (method === "POST" && token()) headers.Authorization = `Bearer ${token()}`;
  const answer = await fetch(target, { method, headers, cache: "no-store" });
  const text = await answer.text();
  if (!answer.ok) {
    if (answer.status === 401) { sessionStorage.removeItem(tokenKey); showActions(); }
    const value = parsed(text);
    throw new Error(value?.error?.message ?? value?.message ?? `the answer was ${answer.status}`);
  }
  return text;
}

function parsed(text) { try { return JSON.parse(text); } catch { return null; } }

async function ask(target, method = "GET") { return parsed(await askText(target, method)); }

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
    if (!this.isSeen) return;
    wantPast(instance.id);
    const seen = seriesOf(instance.id), span = plotSpan();
    this.plots.cpu.draw(seen.cpu, span, 5);
    this.plots.memory.draw(seen.memory, span, 1);
    this.plots.connections.draw(seen.connections, span, 4);
  }
  setState(text, kind) {
    setText(this.state, text);
    if (this.state.dataset.kind !== kind) this.state.dataset.kind = kind;
  }
}

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
  for (const id of series.keys()) if (!live.has(id)) { series.delete(id); askedPast.delete(id); }
  status = next;
  watchDetail();
  drawSoon();
}

function drawSoon() { if (!pictureDue) { pictureDue = true; requestAnimationFrame(draw); } }

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
  setText(byID("plots-span"), `The plots show the last ${spanText(plotSpan())}.`);
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

// As the rows, the flow is drawn while somebody can see it.
let flowIsSeen = false;
new IntersectionObserver((entries) => {
  flowIsSeen = entries.at(-1).isIntersecting;
  if (flowIsSeen) drawSoon();
}, { rootMargin: "200px" }).observe(byID("flow"));

const mostPictures = 30;
const flowPictures = new Map();

function drawFlow(wanted) {
  if (!flowIsSeen) return;
  const place = byID("flow-picture");
  const all = status.services.filter((service) => service.fronts?.length > 0 && (!wanted || service.name.includes(wanted)));
  const balanced = all.slice(0, mostPictures);
  for (const service of balanced) {
    const key = JSON.stringify([isNarrow.matches, service.fronts.map((f) => [f.address, f.connections, f.connectionsTotal, f.queued]),
      service.instances.map((i) => [i.id, kindOf(i), i.state, i.flow?.connections, i.flow?.connectionsTotal])]);
    const known = flowPictures.get(service.name);
    if (known?.key === key) continue;
    const picture = flowPicture(service, kindOf, isNarrow.matches);
    known?.picture.replaceWith(picture);
    flowPictures.set(service.name, { key, picture });
  }
  const names = new Set(balanced.map((service) => service.name));
  for (const [name, { picture }] of flowPictures) if (!names.has(name)) { picture.remove(); flowPictures.delete(name); }
  balanced.forEach((service, index) => {
    const { picture } = flowPictures.get(service.name);
    if (place.children[index] !== picture) place.insertBefore(picture, place.children[index] ?? null);
  });
  const note = byID("flow-note");
  note.hidden = all.length > 0 && all.length <= mostPictures;
  setText(note, all.length ? `${all.length - mostPictures} more services have fronts; the filter above shows them.` : "No service has a front.");
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
    make("span", { class: "what" }, event.instance ?? event.service ?? "supd"), event.text ?? event.kind);
  item.hidden = !matchesEvent(item);
  if (!item.hidden) tellSoon(`${event.instance ?? event.service ?? "supd"}: ${event.text ?? event.kind}`);
  list.prepend(item);
  while (list.children.length > mostEvents) list.lastElementChild.remove();
}

// A screen reader is told of events every few seconds at most, of many as one: an apply has hundreds of them.

const tellPause = 5000;
let untold = 0, lastText = "", toldAt = -tellPause, tellTimer = null;

function tellSoon(text) {
  untold += 1;
  lastText = text;
  tellTimer ??= setTimeout(tell, Math.max(1000, toldAt + tellPause - performance.now()));
}

function tell() {
  setText(byID("event-news"), untold === 1 ? lastText : `${untold} events, the last: ${lastText}`);
  [untold, toldAt, tellTimer] = [0, performance.now(), null];
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
  source.addEventListener("open", () => { setConnection("live", "live"); if (status) pastIsMissing(); });
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
