"use strict";
// One service or instance in full.

let shownDetail = null;

function showDetail(name) {
  shownDetail = name;
  missedDetail = 0;
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
  say(answer.summary);
  // Mostly the summary has it, without the time before the first blank.
  if (answer.occasion && !answer.summary.includes(answer.occasion.slice(answer.occasion.indexOf(" ") + 1))) say(answer.occasion);
  for (const text of answer.besides) say(text);
  if (answer.restartsInLastHour > 0) say(`restarted by itself ${plural(answer.restartsInLastHour, "time")} in the last hour`);
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
  if (facts.length === 0) add("State", "gone: it is none of those that the manifest asks for");
  const key = JSON.stringify(facts);
  const place = byID("detail-facts");
  if (place.dataset.key === key) return;
  place.dataset.key = key;
  const list = make("dl");
  for (const [term, value] of facts) list.append(make("dt", {}, term), make("dd", {}, value));
  place.replaceChildren(list);
}

let missedDetail = 0;

/** With every status: what is shown may be gone. What it wrote last comes a moment after that, so once is not enough. */
function watchDetail() {
  if (!shownDetail) return;
  const isThere = status.services.some((service) => service.name === shownDetail || service.instances.some((i) => i.id === shownDetail));
  if (isThere && missedDetail > 1) openLog(shownDetail);
  missedDetail = isThere ? 0 : missedDetail + 1;
  if (missedDetail === 2) logIsOver(shownDetail);
}

byID("why-again").addEventListener("click", () => { if (shownDetail) explain(shownDetail); });
byID("detail-close").addEventListener("click", () => byID("detail-dialog").close());
// The event comes a moment after: by then another one's details may be open.
byID("detail-dialog").addEventListener("close", (event) => {
  if (event.target.open) return;
  shownDetail = null;
  closeLog();
});
