"use strict";
// Elements with texts, and what is said in words and numbers. All text goes in as text, never as markup.

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

const sum = (values) => values.some((value) => typeof value === "number") ? values.reduce((all, value) => all + (value ?? 0), 0) : null;
const percent = (value) => value === null || value === undefined ? "" : `${value.toFixed(value < 10 ? 1 : 0)} %`;
const count = (value) => value === null || value === undefined ? "" : String(value);

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

const spanText = (seconds) => seconds < 120 ? "minute" : seconds < 3600 ? duration(seconds) : "hour";

function clock(text) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
}

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
