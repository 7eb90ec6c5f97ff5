// Asks for the view each second and draws it. Everything is put into the page as text, never as markup: names of
// contacts and users are other people's words.
"use strict";

const kept = 120; // seconds of throughput
const samples = []; // {at, rates: {name: bytes per second}}
let last = null; // {at, bytes: {name: bytes}}

const byId = (id) => document.getElementById(id);

function element(name, text, className) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function perSecond(bytes) {
  const units = ["B/s", "KiB/s", "MiB/s", "GiB/s"];
  let i = 0;
  while (bytes >= 1024 && i < units.length - 1) { bytes /= 1024; i++; }
  return (i === 0 || bytes >= 100 ? Math.round(bytes) : bytes.toFixed(1)) + " " + units[i];
}

function remember(rates) {
  const at = performance.now();
  const bytes = Object.fromEntries(rates.map((r) => [r.name, r.bytes]));
  if (last && at > last.at) {
    const speed = {};
    for (const name of Object.keys(bytes)) {
      speed[name] = Math.max(0, (bytes[name] - (last.bytes[name] ?? bytes[name])) * 1000 / (at - last.at));
    }
    samples.push({ at, rates: speed });
    while (samples.length > kept) samples.shift();
  }
  last = { at, bytes };
}

function drawPlot(names) {
  const svg = byId("plot");
  const top = Math.max(1, ...samples.flatMap((s) => Object.values(s.rates)));
  const paths = names.map((name, i) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", "s" + (i % 2));
    const x0 = kept - samples.length;
    path.setAttribute("d", samples.map((s, j) =>
      (j ? "L" : "M") + ((x0 + j) * 600 / kept).toFixed(1) + " " + (155 - 150 * (s.rates[name] ?? 0) / top).toFixed(1)).join(""));
    return path;
  });
  svg.replaceChildren(...paths);
  const now = samples.at(-1);
  const text = byId("plot-text");
  text.replaceChildren();
  names.forEach((name, i) => {
    text.append(element("b", name, "s" + (i % 2)), " " + perSecond(now ? now.rates[name] ?? 0 : 0) + "   ");
  });
  text.append("highest of the last two minutes: " + perSecond(samples.length ? top : 0));
}

function drawTable(table) {
  const section = element("section");
  const id = "t-" + table.title.replace(/\W+/g, "-");
  const title = element("h2", table.title + " (" + (table.rows.length + table.more) + ")");
  title.id = id;
  section.setAttribute("aria-labelledby", id);
  section.append(title);
  if (table.rows.length === 0) {
    section.append(element("p", table.empty, "none"));
    return section;
  }
  const t = element("table");
  const head = element("tr");
  for (const column of table.columns) {
    const th = element("th", column);
    th.scope = "col";
    head.append(th);
  }
  const thead = element("thead");
  thead.append(head);
  const body = element("tbody");
  for (const row of table.rows) {
    const tr = element("tr");
    row.forEach((cell) => tr.append(element("td", cell)));
    body.append(tr);
  }
  t.append(thead, body);
  const scroll = element("div", undefined, "scroll");
  scroll.tabIndex = 0; // can be scrolled by the keyboard
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-labelledby", id);
  scroll.append(t);
  section.append(scroll);
  if (table.more > 0) section.append(element("p", "and " + table.more + " more", "none"));
  return section;
}

function say(text, className) {
  const state = byId("state");
  if (state.textContent !== text) state.textContent = text; // said aloud only when it changes
  state.className = className;
}

function draw(view) {
  document.title = view.title + " · " + view.program;
  byId("title").textContent = view.program + " " + view.title;
  say(view.state, view.ok ? "ok" : "bad");
  byId("alerts").replaceChildren(...view.alerts.map((a) => element("li", a)));
  byId("facts").replaceChildren(...view.facts.map((f) => {
    const pair = element("div");
    pair.append(element("dt", f.name), element("dd", f.value));
    return pair;
  }));
  remember(view.rates);
  drawPlot(view.rates.map((r) => r.name));
  const focused = document.activeElement?.getAttribute?.("aria-labelledby");
  byId("tables").replaceChildren(...view.tables.map(drawTable));
  if (focused) document.querySelector('.scroll[aria-labelledby="' + CSS.escape(focused) + '"]')?.focus();
}

async function look() {
  try {
    const answer = await fetch("view", { cache: "no-store" });
    if (!answer.ok) throw new Error(await answer.text());
    draw(await answer.json());
  } catch {
    say("The program does not answer.", "bad");
  } finally {
    setTimeout(look, document.hidden ? 5000 : 1000);
  }
}

look();
