"use strict";
// The log of what is shown in full: its end as it is written, and from there back, a page at a time.

const mostLines = 1000;
// Where somebody has gone back, more is kept.
const mostLinesBack = 5000;
const pageLines = 200;
let logSource = null;
let logTimer = null;
let logIsNew = false;
let hasGoneBack = false;

function openLog(name) {
  closeLog();
  byID("log").replaceChildren();
  byID("log-follow").checked = true;
  byID("log-earlier").disabled = false;
  hasGoneBack = false;
  listen(name);
}

function listen(name) {
  setText(byID("log-state"), "");
  const stream = new EventSource(`v1/logs?name=${encodeURIComponent(name)}&lines=${pageLines}&follow=true`);
  logSource = stream;
  // A connection that is opened again begins with the end of the log again.
  stream.addEventListener("open", () => { logIsNew = true; setText(byID("log-state"), "live"); });
  stream.addEventListener("line", (message) => {
    if (logIsNew) { byID("log").replaceChildren(); hasGoneBack = false; byID("log-earlier").disabled = false; }
    logIsNew = false;
    addLine(JSON.parse(message.data), name);
  });
  stream.addEventListener("refused", (message) => {
    const error = JSON.parse(message.data).error;
    closeLog();
    if (error.code === "no-such-name") return logIsOver(name);
    again(name, `${error.message}; it is tried again in 5 seconds`);
  });
  stream.addEventListener("error", () => {
    if (logSource !== stream) return;
    // Refused for good, as when too many pages are open: the browser does not try again by itself.
    if (stream.readyState === EventSource.CLOSED) again(name, "no connection; it is tried again in 5 seconds");
    else setText(byID("log-state"), "connection lost, trying again");
  });
}

function again(name, text) {
  closeLog();
  setText(byID("log-state"), text);
  logTimer = setTimeout(() => listen(name), 5000);
}

/** What writes it is gone: nothing more will come, and nothing is asked for any more. */
function logIsOver(name) {
  closeLog();
  setText(byID("log-state"), `${name} is gone: nothing more comes. What it has written is in its files, where supctl logs looks.`);
  byID("log-earlier").disabled = true;
}

function closeLog() {
  clearTimeout(logTimer);
  logTimer = null;
  logSource?.close();
  logSource = null;
}

function lineItem(line, name) {
  const item = make("li", { "data-instance": line.instance, "data-place": line.place, "data-time": line.time },
    make("time", { datetime: line.time, title: line.time }, line.time.slice(11, 23)));
  if (!name.includes("/")) item.append(make("span", { class: "who" }, line.instance));
  if (line.stream === "stderr") item.append(make("span", { class: "error", title: "standard error" }, "!"));
  item.append(line.message);
  item.hidden = !matchesLine(item);
  return item;
}

function addLine(line, name) {
  const list = byID("log");
  list.append(lineItem(line, name));
  while (list.children.length > (hasGoneBack ? mostLinesBack : mostLines)) list.firstElementChild.remove();
  if (byID("log-follow").checked) list.scrollTop = list.scrollHeight;
}

/** Shows the lines before the first ones, in rotated files, too. */
async function showEarlier() {
  const list = byID("log"), name = shownDetail, button = byID("log-earlier");
  if (!name || list.children.length >= mostLinesBack) return;
  const places = new Set(), marks = new Map();
  for (const { dataset: { instance, place, time } } of list.children) {
    places.add(`${instance}@${place}`);
    if (!marks.has(instance)) marks.set(instance, `${instance}@${place}@${time}`);
  }
  const before = marks.size ? `&before=${[...marks.values()].slice(0, 16).map(encodeURIComponent).join(",")}` : "";
  button.disabled = true;
  try {
    const text = await askText(`v1/logs?name=${encodeURIComponent(name)}&lines=${pageLines}${before}`);
    if (shownDetail !== name) return;
    const lines = text.split("\n").filter(Boolean).map((line) => JSON.parse(line)).filter((line) => !places.has(`${line.instance}@${line.place}`));
    const room = mostLinesBack - list.children.length;
    const items = lines.slice(Math.max(0, lines.length - room)).map((line) => lineItem(line, name));
    hasGoneBack = true;
    byID("log-follow").checked = false;
    const height = list.scrollHeight;
    list.prepend(...items);
    list.scrollTop += list.scrollHeight - height;
    const isFull = list.children.length >= mostLinesBack;
    button.disabled = isFull || items.length === 0;
    setText(byID("log-state"), isFull ? `${mostLinesBack} lines are shown, which is the most; supctl logs shows all`
      : items.length ? `${plural(items.length, "earlier line")} shown` : "this is the beginning of what is kept");
  } catch (error) {
    if (shownDetail !== name) return;
    button.disabled = false;
    setText(byID("log-state"), `no earlier lines: ${error.message}`);
  }
}

function matchesLine(item) {
  const wanted = byID("log-filter").value.trim().toLowerCase();
  return !wanted || item.textContent.toLowerCase().includes(wanted);
}

byID("log-earlier").addEventListener("click", showEarlier);
byID("log-filter").addEventListener("input", () => {
  for (const item of byID("log").children) item.hidden = !matchesLine(item);
});
byID("log-follow").addEventListener("change", (event) => {
  if (event.target.checked) byID("log").scrollTop = byID("log").scrollHeight;
});
