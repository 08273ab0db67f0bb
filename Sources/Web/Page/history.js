"use strict";
// What the plots show: the last hour as the supervisor has kept it (GET /v1/usage), and from then on what this page sees.

/** A moment, in seconds; no clock that somebody sets. */
const moment = () => performance.now() / 1000;

/** When the first value is from that the page knows: all plots begin there, or an hour ago. */
let firstMoment = Infinity;
const plotSpan = () => Math.min(Math.max(moment() - firstMoment, 60), Series.span);

/**
 * One figure's last hour. What is new stands as it came; what is older in steps of 20 seconds, of which each has the average or
 * the highest value. So it has some 240 values at most.
 */
class Series {
  static span = 3600;
  static step = 20;
  static mostFresh = 60;
  constructor(isAverage) {
    this.isAverage = isAverage;
    this.old = [];
    this.fresh = [];
  }
  /** A value that was seen now; null: there is none. */
  add(value) {
    const time = moment();
    if (value !== null && value !== undefined) firstMoment = Math.min(firstMoment, time);
    this.fresh.push([time, value ?? NaN]);
    if (this.fresh.length > Series.mostFresh) this.settle(...this.fresh.shift());
    while (this.old.length && this.old[0].time < time - Series.span) this.old.shift();
  }
  settle(time, value) {
    if (Number.isNaN(value)) return;
    const begin = Math.floor(time / Series.step) * Series.step, last = this.old.at(-1);
    if (!last || last.begin !== begin) {
      this.old.push({ begin, time: begin + Series.step / 2, value, count: 1 });
    } else {
      last.value = this.isAverage ? (last.value * last.count + value) / (last.count + 1) : Math.max(last.value, value);
      last.count += 1;
    }
  }
  /** Nothing was seen for a while: what was new is old. */
  pause() { for (const [time, value] of this.fresh.splice(0)) this.settle(time, value); }
  /** The supervisor's past, up to now: it stands where the page has not looked closely itself. */
  fill(values, every) {
    const own = this.old, end = moment(), from = this.fresh.length ? this.fresh[0][0] : end;
    this.old = [];
    values.forEach((value, index) => {
      const time = end - (values.length - 1 - index) * every;
      if (value === null || time >= from) return;
      firstMoment = Math.min(firstMoment, time);
      this.settle(time, value);
    });
    const known = new Set(this.old.map((slot) => slot.begin));
    this.old.push(...own.filter((slot) => !known.has(slot.begin)));
    this.old.sort((a, b) => a.begin - b.begin);
  }
  /** Calls `each` with the moment and the value of all that is known, the oldest first; NaN: it was seen that there is none. */
  forEach(each) {
    for (const slot of this.old) each(slot.time, slot.value);
    for (const [time, value] of this.fresh) each(time, value);
  }
}

const series = new Map();

function seriesOf(id) {
  let own = series.get(id);
  if (!own) series.set(id, own = { cpu: new Series(true), memory: new Series(false), connections: new Series(false) });
  return own;
}

// The past is asked for where somebody can see it, of a few instances at a time.

const mostAsked = 16;
const wantedPast = new Set();
const askedPast = new Set();
let isAskingPast = false;

function wantPast(id) {
  if (askedPast.has(id)) return;
  askedPast.add(id);
  wantedPast.add(id);
  if (!isAskingPast) { isAskingPast = true; setTimeout(askPast, 50); }
}

async function askPast() {
  const ids = [...wantedPast].filter((id) => series.has(id)).slice(0, mostAsked);
  for (const id of ids) wantedPast.delete(id);
  if (ids.length === 0) { wantedPast.clear(); isAskingPast = false; return; }
  try {
    const report = await ask(`v1/usage?name=${ids.map(encodeURIComponent).join(",")}&series=hour`);
    for (const instance of report.instances) {
      const own = series.get(instance.id), past = instance.series;
      if (!own || !past) continue;
      own.cpu.fill(past.cpuPercent, past.everySeconds);
      own.memory.fill(past.memoryBytes, past.everySeconds);
      own.connections.fill(past.connections, past.everySeconds);
    }
    drawSoon();
  } catch {
    // As while the supervisor is lost, or where one of them is just gone. The plots have what the page sees.
    setTimeout(() => { for (const id of ids) askedPast.delete(id); }, 10000);
  }
  askPast();
}

/** The page has not looked for a while: what has happened meanwhile the supervisor knows. */
function pastIsMissing() {
  for (const own of series.values()) for (const one of Object.values(own)) one.pause();
  askedPast.clear();
}
