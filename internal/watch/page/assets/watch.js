"use strict";
// Everything of the file is set as text, never as markup.
const $ = (id) => document.getElementById(id);
const number = (n) => n.toLocaleString("en-US");
const bytes = (n) => n < 1e3 ? n + " B" : n < 1e6 ? (n / 1e3).toFixed(1) + " kB" : n < 1e9 ? (n / 1e6).toFixed(1) + " MB" : (n / 1e9).toFixed(2) + " GB";
const time = (t) => new Date(t).toLocaleTimeString("en-GB");
const lasted = (ms) => {
  const s = Math.max(0, Math.floor(ms / 1000)), two = (n) => String(n).padStart(2, "0");
  return s < 60 ? s + "s" : s < 3600 ? Math.floor(s / 60) + "m" + two(s % 60) + "s" : Math.floor(s / 3600) + "h" + two(Math.floor(s / 60) % 60) + "m";
};
const element = (name, text, kind) => {
  const e = document.createElement(name);
  e.textContent = text;
  if (kind) e.className = kind;
  return e;
};
const shape = (name, attributes, text) => {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
};

let state = null;
let ahead = 0; // of the clock there to the clock here

function show(s) {
  state = s;
  ahead = Date.parse(s.time) - Date.now();
  const base = s.file.split(/[\\/]/).pop();
  document.title = (s.shrunk ? "⚠ " : "") + base + " · jsonguard watch";
  $("name").textContent = base;
  $("path").textContent = s.file;
  $("dot").className = "dot" + (!s.exists ? " bad" : s.problem ? " warn" : "");
  const problem = s.problem || (s.unguarded ? "somebody without jsonguard changed it after the last fold" : "");
  $("problem").hidden = !problem;
  $("problem").textContent = problem;
  alarms(s);
  figures(s);
  writers(s);
  draw();
}

function alarms(s) {
  $("alarms").hidden = !s.shrunk;
  const lines = s.alarms.slice(-5).reverse().map((a) => {
    const at = a.at || "the document";
    return element("p", time(a.time) + "  " + at + (a.gone ? " is gone: it had " + number(a.before)
      : " shrank from " + number(a.before) + " to " + number(a.after) + ": " + number(a.before - a.after) + " lost"));
  });
  if (s.shrunk > lines.length) lines.push(element("p", "and " + number(s.shrunk - lines.length) + " before"));
  $("alarms").replaceChildren(...lines);
}

function figures(s) {
  const figure = (label, value, kind) => {
    const e = element("div", "", "figure" + (kind ? " " + kind : ""));
    e.append(element("b", value), element("span", label));
    return e;
  };
  const all = s.counts.map((c) => figure((c.grow ? "in " : "") + c.pattern, number(c.n)));
  all.push(figure("size", bytes(s.size)));
  all.push(figure("versions a second, of " + number(s.versions), s.per_second < 10 ? s.per_second.toFixed(1) : s.per_second.toFixed(0)));
  all.push(figure(s.dead ? "writers live, " + s.dead + " dead" : "writers live", number(s.live), s.dead ? "bad" : ""));
  all.push(figure("pending", number(s.pending)));
  all.push(figure("conflicts", number(s.conflicts), s.conflicts ? "warn" : ""));
  if (s.quarantined) all.push(figure("quarantined", number(s.quarantined), "bad"));
  $("figures").replaceChildren(...all);
}

function writers(s) {
  const most = 40;
  $("who").textContent = "writers: " + s.live + " live" + (s.dead ? ", " + s.dead + " dead" : "") + " · generation " + number(s.generation);
  const rows = s.writers.slice(0, most).map((w) => {
    const row = document.createElement("tr");
    row.append(element("td", w.live ? "● live" : "✗ dead", w.live ? "live" : "dead"), element("td", w.host ? w.host + "@" + w.pid : w.id),
      element("td", lasted(Date.parse(s.time) - Date.parse(w.since))), element("td", w.pending ? w.pending + " pending" : ""), element("td", w.damage || w.command));
    return row;
  });
  if (s.writers.length > most) {
    const row = document.createElement("tr");
    row.append(element("td", "and " + (s.writers.length - most) + " more"));
    rows.push(row);
  }
  $("writers").replaceChildren(...rows);
}

// Both charts show the whole time that was watched. Where nothing happened since the last step, its count still holds.
function draw() {
  if (!state || !state.steps.length) return;
  const s = state, now = Date.now() + ahead, total = Math.max(30000, now - s.began);
  const left = 76, right = 950, x = (t) => left + (right - left) * (t - s.began) / total;
  const counts = s.steps.map((p) => p[0]);
  counts[counts.length - 1] = s.last; // the newest, not the lowest of its step
  const name = s.counts.length ? number : bytes;
  $("what").textContent = s.counts.length ? (s.counts[0].grow ? "in " : "") + s.counts[0].pattern : "size";
  let low = Math.min(...counts), high = Math.max(...counts);
  low = low >= 0 && (low <= high / 2 || low === high) ? 0 : low - (high - low) / 4;
  if (high <= low) high = low + 1;
  const top = 14, bottom = 250, y = (v) => bottom - (bottom - top) * (v - low) / (high - low);
  const shapes = [];
  for (let i = 0; i <= 4; i++) {
    const v = low + (high - low) * i / 4;
    shapes.push(shape("line", { class: "grid", x1: left, x2: right, y1: y(v), y2: y(v) }));
    shapes.push(shape("text", { x: left - 8, y: y(v) + 4, "text-anchor": "end" }, name(Math.round(v))));
  }
  const points = [];
  counts.forEach((c, i) => {
    const from = x(s.began + i * s.step);
    points.push(from + "," + y(c));
    if (i === counts.length - 1) points.push(Math.max(from, x(now)) + "," + y(c));
    if (i && c < counts[i - 1]) shapes.push(shape("line", { class: "fall", x1: from, x2: from, y1: top, y2: bottom }));
  });
  const first = points[0].split(",")[0], last = points[points.length - 1].split(",")[0];
  shapes.push(shape("path", { class: "area", d: "M" + first + "," + bottom + " L" + points.join(" L") + " L" + last + "," + bottom + " Z" }));
  shapes.push(shape("polyline", { class: "line", points: points.join(" ") }));
  for (let i = 0; i <= 4; i++) {
    const t = s.began + total * i / 4;
    shapes.push(shape("text", { x: x(t), y: 270, "text-anchor": i === 0 ? "start" : i === 4 ? "end" : "middle" }, time(t)));
  }
  $("chart").replaceChildren(...shapes);

  const made = s.steps.map((p) => p[1]), most = Math.max(1, ...made), width = Math.max(1, (right - left) * s.step / total - 1);
  const bars = [shape("text", { x: left - 8, y: 16, "text-anchor": "end" }, number(Math.round(most * 1000 / s.step)) + "/s"),
    shape("line", { class: "grid", x1: left, x2: right, y1: 64, y2: 64 })];
  made.forEach((m, i) => {
    const high = 56 * m / most;
    if (m) bars.push(shape("rect", { class: "bar", x: x(s.began + i * s.step), y: 64 - high, width, height: high }));
  });
  $("versions").replaceChildren(...bars);
}

function tick() {
  if (!state) return;
  $("clock").textContent = "watched for " + lasted(Date.now() + ahead - state.began);
  draw();
}

const source = new EventSource("events");
source.onmessage = (e) => show(JSON.parse(e.data));
source.onopen = () => { document.body.dataset.link = "live"; $("link").textContent = ""; };
source.onerror = () => { document.body.dataset.link = "lost"; $("link").textContent = "· the connection is lost; trying again"; };
setInterval(tick, 1000);
