"""The script of an inspector's page: it draws what /events tells.

Rules
- What a program named itself is text, and is never read as HTML: elements are made, and their text is set.
- A part of the page is drawn anew where what it shows has changed; what the reader has opened, scrolled or has the focus on
  stays. The graph is kept while its shape is the same, so that what moves on it moves on.
- Nothing moves where the reader has asked for less motion.

Not here: the HTML and the style (page.py).
"""

from __future__ import annotations

ELEMENTS = r"""
"use strict";

// elements: their text is set, nothing is read as HTML

function el(name, text, cls) {
  const made = document.createElement(name);
  if (text !== undefined && text !== null) made.textContent = text;
  if (cls) made.className = cls;
  return made;
}
function svg(name, values, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in values) made.setAttribute(key, values[key]);
  if (text !== undefined) made.textContent = text;
  return made;
}
function bdi(text, cls) {  // a name of the program's, in whatever direction it is written
  return el("bdi", text, cls);
}
const at = (id) => document.getElementById(id);
function put(parent, ...children) {
  parent.replaceChildren(...children);
  return parent;
}
const none = (text) => el("p", text, "none");
function note(section, text, cls) {
  const small = at(section).querySelector("h2 small");
  small.textContent = text;
  small.className = cls || "";
}

// numbers and names

const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"];
function bytes(size) {
  if (size < 1000) return size + " B";
  let unit = -1;
  do { size /= 1024; unit++; } while (size >= 999.5 && unit < UNITS.length - 1);
  return size.toFixed(size < 9.95 ? 1 : 0) + " " + UNITS[unit];
}
function span(seconds) {
  if (!seconds) return "0 s";
  if (seconds < 0.00095) return (seconds * 1e6).toFixed(seconds < 0.0000095 ? 1 : 0) + " \u00b5s";
  if (seconds < 0.95) return (seconds * 1e3).toFixed(seconds < 0.0095 ? 1 : 0) + " ms";
  if (seconds < 100) return seconds.toFixed(1) + " s";
  return seconds < 7200 ? Math.round(seconds / 60) + " min" : Math.round(seconds / 3600) + " h";
}
const count = (value) => value.toLocaleString("en");
const rate = (value) => value === null ? "\u2013" : value >= 100 ? count(Math.round(value)) : String(value);
const many = (value, word) => count(value) + " " + word + (value === 1 ? "" : "s");
const place = (text) => text.replace(/[^\s()]*[\\\/]([^\s()\\\/]+:\d+)/g, "$1");  // no folders: the whole is a hint
function isolated(text) {  // in an SVG: whatever its direction is, it is not that of its neighbours
  return "\u2068" + text.replace(/[\u2066-\u2069]/g, "") + "\u2069";
}
function clipped(text, most) {
  const chars = Array.from(text);
  return chars.length > most ? chars.slice(0, most - 1).join("") + "\u2026" : text;
}
function percent(share) {
  return share === null ? "\u2013" : (share * 100).toFixed(share < 0.1 ? 1 : 0) + " %";
}

// small pictures

const KEPT = 90;  // values of a curve, one a second
function curve(values) {
  const made = svg("svg", {viewBox: "0 0 " + (KEPT - 1) + " 30", preserveAspectRatio: "none", "aria-hidden": "true"});
  if (values.length < 2) return made;
  const most = Math.max(...values) || 1, step = (KEPT - 1) / Math.max(values.length - 1, 20);
  const points = values.map((value, n) => (n * step).toFixed(1) + "," + (28 - 26 * value / most).toFixed(1)).join(" ");
  const end = ((values.length - 1) * step).toFixed(1);
  made.append(svg("polygon", {class: "under", points: "0,30 " + points + " " + end + ",30"}),
              svg("polyline", {class: "curve", points}));
  return made;
}
function figure(value, label, values) {
  const made = el("div", null, "figure");
  made.append(el("b", value), el("span", label), curve(values));
  return made;
}
function meter(part, whole, cls) {  // cls: of a part that is the whole
  const made = el("span", null, "meter"), level = el("i");
  const share = whole ? Math.min(1, part / whole) : 0;
  level.style.width = (share * 100).toFixed(1) + "%";
  if (share >= 1) level.className = cls;
  made.title = part + " of " + whole;
  made.setAttribute("aria-hidden", "true");
  made.append(level);
  return made;
}
function queue(row) {
  const made = el("span");
  if (row.high_water) made.append(meter(row.queued, row.high_water, "full"));
  made.append(bytes(row.queued || 0));
  return made;
}
function chip(strong, text) {
  const made = el("span", null, "chip");
  made.append(bdi(strong, "strong"), text);
  return made;
}

// tables: `heads` are [text, class]; what scrolls and what unfolds has a key, by which its state is kept

function table(key, heads, rows) {
  const made = el("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  for (const [text, cls] of heads) {
    const cell = el("th", text, cls);
    cell.scope = "col";
    head.append(cell);
  }
  for (const cells of rows) {
    const row = body.insertRow();
    cells.forEach((cell, n) => {
      const made = row.insertCell();
      made.className = heads[n][1];
      made.append(cell instanceof Node ? cell : String(cell));
    });
  }
  const scroll = el("div", null, "scroll");
  scroll.dataset.key = key;
  scroll.append(made);
  return scroll;
}
const opened = new Set();
function folded(key, title, lines) {
  if (!lines.length) return bdi(title, "flat");
  const made = el("details"), summary = el("summary");
  made.open = opened.has(key);
  summary.dataset.key = key;
  summary.append(bdi(title));
  made.append(summary);
  for (const line of lines) {
    const row = el("div");
    row.append(el("code", line));
    made.append(row);
  }
  made.addEventListener("toggle", () => made.open ? opened.add(key) : opened.delete(key));
  return made;
}
"""

PARTS = r"""
// the parts of the page

const history = {turns: [], busy: [], handles: [], queued: []};
function remember(state) {
  const loop = state.loop, queued = state.kinds.reduce((sum, kind) => sum + kind.queued, 0);
  const values = {turns: loop.turns, busy: loop.busy, handles: loop.handles, queued};
  for (const name in values) {
    if (values[name] !== null) history[name].push(values[name]);
    if (history[name].length > KEPT) history[name].shift();
  }
  return queued;
}
function showLoop(state) {
  const loop = state.loop, queued = remember(state);
  put(at("loop"),
    figure(rate(loop.turns), "turns a second", history.turns),
    figure(percent(loop.busy), "of the time in callbacks; " + span(loop.held) + " in long turns", history.busy),
    figure(count(loop.handles), "handles, " + many(loop.timers, "timer") + " among them", history.handles),
    figure(bytes(queued), "wait for the kernel", history.queued));
}

const SLOTS = [["longest", "n"], ["", "extra"], ["calls", "n extra"], ["total", "n extra"], ["callback", "wide"]];
function showSlots(slots) {
  const box = at("slots").lastElementChild;
  if (!slots.length) return put(box, none("None has taken 0.1 ms."));
  const most = slots[0].longest;
  put(box, table("slots", SLOTS, slots.map((row) => [
    span(row.longest), meter(row.longest, most, ""), count(row.calls), span(row.total),
    folded("slot " + row.runs + row.who, place(row.who), row.who === row.runs ? [row.who] : [row.who, "run by " + row.runs]),
  ])));
}

function anError(row) {
  const cell = el("div"), where = el("div", null, "dim");
  cell.append(bdi(row.type, "bad strong"), " ", row.text);
  if (row.contract) {
    cell.append(el("div", "Contract: " + row.contract + (row.instead ? ". Instead: " + row.instead : ""), "warn"));
  }
  where.append("in ", el("code", place(row.where)), row.handle ? " of a " + row.handle : "");
  where.title = row.where;
  cell.append(where);
  return [count(row.count) + "\u00d7", span(row.ago) + " ago", cell];
}
function showErrors(errors, all) {
  const box = at("errors").lastElementChild;
  note("errors", all ? count(all) : "", "bad");
  if (!errors.length) return put(box, none("No slot or callback has raised."));
  put(box, table("errors", [["times", "n"], ["last", "n"], ["error", "wide"]], errors.map(anError)));
}

const ANSWERS = [["for", "n"], ["", ""], ["request", "wide"], ["queued", "n"]];
function anAnswer(row) {
  const late = row.state === "thinks" && row.seconds > 1, request = el("span");
  request.append(bdi(row.request), " ", el("span", row.peer, "dim"));
  return [span(row.seconds), el("span", row.state, late ? "warn" : "dim"), request, queue(row)];
}
function aServer(server) {
  const chips = el("div", null, "chips");
  const where = server.name ? " " + server.address : "";
  chips.append(chip(server.name || server.address, where + (server.stopping ? " stops" : "")));
  for (const [name, number] of [["accepted", server.accepted], ...Object.entries(server.states).sort()]) {
    chips.append(chip(count(number), " " + name));
  }
  return server.answering.length
    ? [chips, table("answers " + server.number, ANSWERS, server.answering.map(anAnswer))] : [chips];
}
function showServers(servers, more) {
  const left = [[more.servers, "more"], [more.answering, "answers more"]].filter(([number]) => number);
  note("servers", left.map(([number, what]) => count(number) + " " + what).join(", "));
  put(at("servers").lastElementChild, ...(servers.length ? servers.flatMap(aServer) : [none("No HTTP server on this loop.")]));
}

const SOCKETS = [["peer", "wide"], ["end", "extra"], ["state", ""], ["seen", "n extra"], ["queued", "n"]];
function showWebSockets(sockets, more) {
  note("websockets", sockets.length ? count(sockets.length + (more.websockets || 0)) : "");
  put(at("websockets").lastElementChild, !sockets.length ? none("None.") : table("websockets", SOCKETS, sockets.map(
    (row) => [bdi(row.name || row.peer), row.side + "'s", row.state, span(row.age), queue(row)])));
}

const counts = new Map();  // kind -> how many there were, one a second
function growth(kind) {
  const before = counts.get(kind.kind) || [];
  before.push(kind.count);
  if (before.length > KEPT) before.shift();
  counts.set(kind.kind, before);
  const grows = before.length === KEPT && before.every((value, n) => !n || value >= before[n - 1]);
  return grows ? kind.count - before[0] : 0;
}
function showKinds(kinds) {
  put(at("kinds"), ...kinds.map((kind) => {
    const made = chip(count(kind.count), " " + kind.kind), more = growth(kind);
    if (more) made.append(el("span", " grows: " + count(more) + " more in " + KEPT + " s", "warn"));
    return made;
  }));
}
const HANDLES = [["handle", "wide"], ["state", ""], ["seen", "n extra"], ["queued", "n"]];
function aHandle(row) {
  const lines = Object.entries(row.slots).flatMap(([name, slots]) => slots.map((slot) => name + ": " + slot));
  if (row.made) lines.push("made at", ...row.made.split("\n"));
  const title = (row.name ? row.name + " \u2014 " : "") + place(row.title);
  return [folded("handle " + row.number, title, lines), row.state, span(row.age), queue(row)];
}
function showHandles(handles, more) {
  const left = more.handles ? "; " + count(more.handles) + " more" : "";
  note("handles", left ? "the " + handles.length + " that queue most, or are oldest" + left : "");
  put(at("handles").lastElementChild, handles.length ? table("handles", HANDLES, handles.map(aHandle)) : none("None."));
}
"""

GRAPH = r"""
// packet streams: each is a lane of boxes; the lane of one that is fed by another begins behind the end of that one

const WIDE = 132, TALL = 54, GAP = 34, LANE = 104;
const less = matchMedia("(prefers-reduced-motion: reduce)");
const graph = {shape: "", lanes: []};

function sourceBox(stream) {
  const sources = stream.sources.filter((source) => source.number === null);
  if (!sources.length) return stream.sources.length ? [] : [{kind: "end", title: "write()", small: "by the program"}];
  const small = sources.length > 1 ? sources.length + " sources" : sources[0].title || "source";
  return [{kind: "end", title: sources.map((source) => source.kind).join(", "), small}];
}
function stageBox(stage) {
  const queued = stage.most !== undefined;
  const small = stage.gone ? "its receiver has gone" : stage.sink ? "sink, " + stage.retention
    : queued ? stage.depth + " of " + stage.most + ", " + stage.retention : stage.retention;
  return {kind: stage.gone ? "broken" : "stage", title: stage.kind, small, bound: stage.boundary,
          level: queued ? Math.min(1, stage.depth / stage.most) : null, dropped: stage.dropped || 0};
}
function outputBox(stream) {
  if (!stream.taken_by && stream.feeds.length) return [];
  const small = stream.slots.map(place).join(", ") || "output";
  return [{kind: "end", title: stream.taken_by ? many(stream.taken_by, "slot") : "no slot", small}];
}
const boxesOf = (stream) => [...sourceBox(stream), ...stream.stages.map(stageBox), ...outputBox(stream)];
const lengthOf = (boxes) => boxes.length * (WIDE + GAP);

function lanesOf(streams) {
  const known = new Map(streams.map((stream) => [stream.number, {stream, boxes: boxesOf(stream), x: null}]));
  function begins(lane) {
    if (lane.x === null) {
      lane.x = 0;  // first: where there should be a circle it ends here
      for (const source of lane.stream.sources) {
        const feeding = known.get(source.number);
        if (feeding) lane.x = Math.max(lane.x, begins(feeding) + lengthOf(feeding.boxes));
      }
    }
    return lane.x;
  }
  return streams.map((stream, n) => {
    const lane = known.get(stream.number);
    begins(lane);
    lane.y = n * LANE + 26;
    return lane;
  });
}
function shapeOf(lanes) {
  return JSON.stringify(lanes.map((lane) => [lane.stream.number, lane.x, lane.y, lane.stream.feeds,
    lane.boxes.map((box) => [box.kind, box.title, box.bound, box.level === null || box.level === undefined])]));
}

function drawGraph(lanes) {
  const width = Math.max(...lanes.map((lane) => lane.x + lengthOf(lane.boxes)));
  const picture = svg("svg", {width: width + 4, height: lanes.length * LANE, role: "img",
                              "aria-label": "the packet streams, each as its stages in order"});
  const edges = svg("g", {}), rest = svg("g", {}), byNumber = new Map(lanes.map((lane) => [lane.stream.number, lane]));
  picture.append(edges, rest);
  for (const lane of lanes) {
    lane.paths = [];
    lane.edges = edges;
    lane.head = svg("text", {x: lane.x + 2, y: lane.y - 10});
    lane.lost = svg("text", {x: lane.x + 2, y: lane.y + TALL + 15, class: "small drop"});
    rest.append(lane.head, lane.lost);
    lane.parts = lane.boxes.map((box, n) => drawBox(lane, box, n, rest));
  }
  for (const lane of lanes) {
    for (const number of lane.stream.feeds) {
      const fed = byNumber.get(number), end = lane.x + lengthOf(lane.boxes) - GAP + 2;
      if (fed) drawEdge(lane, end, lane.y + TALL / 2, fed.x + 2, fed.y + TALL / 2);
    }
  }
  return picture;
}
function drawEdge(lane, x1, y1, x2, y2) {
  const bend = " C" + (x1 + GAP / 2) + " " + y1 + " " + (x2 - GAP / 2) + " " + y2 + " ";
  const path = svg("path", {class: "edge", d: "M" + x1 + " " + y1 + bend + x2 + " " + y2});
  lane.edges.append(path);
  lane.paths.push({path, dots: []});
}
function drawBox(lane, box, n, rest) {
  const left = lane.x + n * (WIDE + GAP) + 2, y = lane.y, made = {};
  if (n) drawEdge(lane, left - GAP, y + TALL / 2, left, y + TALL / 2);
  if (box.bound) {
    const x = left - GAP / 2;
    rest.append(svg("line", {class: "bound", x1: x, x2: x, y1: y - 6, y2: y + TALL + 8}),
                svg("text", {class: "bound-text", x: x + 3, y: y + TALL + 15}, "boundary: owned from here on"));
  }
  made.hint = svg("title", {});
  const whole = svg("g", {}), frame = svg("rect", {class: "box " + box.kind, x: left, y, width: WIDE, height: TALL, rx: 6});
  made.level = svg("rect", {class: "level", x: left + 6, y: y + TALL - 7, width: 0, height: 4, rx: 2});
  made.small = svg("text", {x: left + 8, y: y + 31, class: "small"});
  made.drop = svg("text", {x: left + 8, y: y + 43, class: "small drop"});
  const title = svg("text", {x: left + 8, y: y + 17}, isolated(clipped(box.title, 17)));
  whole.append(made.hint, frame, made.level, title, made.small, made.drop);
  rest.append(whole);
  return made;
}

function fill(lane, came) {
  const stream = lane.stream, name = isolated(clipped(stream.name || "stream " + stream.number, 60));
  lane.head.textContent = [name, stream.state + (stream.error ? ": " + stream.error : ""),
                           ...(came ? [rate(Math.round(came * 10) / 10) + " packets/s"] : [])].join("  \u00b7  ");
  lane.lost.textContent = stream.dropped ? many(stream.dropped, "packet") + " dropped: too late or too early" : "";
  lane.boxes.forEach((box, n) => {
    const part = lane.parts[n];
    part.small.textContent = isolated(clipped(box.small, 19));
    part.hint.textContent = box.title + "\n" + box.small;
    part.drop.textContent = box.dropped ? rate(box.dropped) + " dropped" : "";
    part.level.setAttribute("width", Math.max(0, (WIDE - 12) * (box.level || 0)));
  });
  for (const edge of lane.paths) flow(edge, lane.edges, came);
}
function flow(edge, edges, came) {  // the more packets, the more dots, and the faster
  edge.path.setAttribute("class", came ? "edge flows" : "edge");
  const pace = came && !less.matches ? Math.max(1, Math.min(4, Math.round(Math.log10(came + 1)))) : 0;
  if (edge.dots.length === pace) return;
  for (const dot of edge.dots) dot.remove();
  const seconds = 1.3 - 0.25 * pace;
  edge.dots = Array.from({length: pace}, (_, n) => {
    const dot = svg("circle", {class: "dot", r: 3});
    dot.append(svg("animateMotion", {dur: seconds + "s", repeatCount: "indefinite", begin: (-n * seconds / pace) + "s",
                                     path: edge.path.getAttribute("d")}));
    edges.append(dot);
    return dot;
  });
}
function showStreams(state, before, seconds) {
  const streams = state.streams, left = state.more.streams;
  at("streams").hidden = !streams.length;
  note("streams", left ? "the first " + streams.length + "; " + count(left) + " more" : count(streams.length));
  if (!streams.length) return;
  const lanes = lanesOf(streams), shape = shapeOf(lanes);
  if (shape !== graph.shape) {
    put(at("graph"), drawGraph(lanes));
    Object.assign(graph, {shape, lanes});
  } else {
    lanes.forEach((lane, n) => Object.assign(graph.lanes[n], {stream: lane.stream, boxes: lane.boxes}));
  }
  const counted = new Map(before ? before.streams.map((stream) => [stream.number, stream.entered]) : []);
  for (const lane of graph.lanes) {
    const then = counted.get(lane.stream.number), now = lane.stream.entered;
    fill(lane, typeof then === "number" && now !== null && now > then ? (now - then) / seconds : 0);
  }
}
"""

SHOW = r"""
// all of it, each second

let last = null, lastAt = 0, waits = null, paused = false;
const drawn = {};
function changed(name, data) {  // whether this part shows something else than before
  const text = JSON.stringify(data);
  if (drawn[name] === text) return false;
  drawn[name] = text;
  return true;
}
function keeping(draw) {  // what the reader has scrolled, and what has the focus, stays
  const focus = document.activeElement && document.activeElement.dataset.key, places = new Map();
  for (const box of document.querySelectorAll(".scroll[data-key]")) places.set(box.dataset.key, box.scrollLeft);
  draw();
  for (const box of document.querySelectorAll(".scroll[data-key]")) box.scrollLeft = places.get(box.dataset.key) || 0;
  if (!focus || document.activeElement.dataset.key === focus) return;
  for (const one of document.querySelectorAll("summary")) if (one.dataset.key === focus) one.focus({preventScroll: true});
}
function showHead(state) {
  document.title = state.program + " \u00b7 icey";
  at("program").textContent = state.program;
  at("what").textContent = ["process " + state.pid, state.python, "icey " + state.icey, ...(state.debug ? ["debug mode"] : [])]
    .join(" \u00b7 ");
}
function show(state) {
  const now = performance.now() / 1000, seconds = Math.max(0.1, now - lastAt), more = state.more;
  keeping(() => {
    if (changed("head", [state.program, state.pid])) showHead(state);
    showLoop(state);
    showStreams(state, last, seconds);
    if (changed("slots", state.slots)) showSlots(state.slots);
    if (changed("errors", state.errors)) showErrors(state.errors, state.loop.errors);
    if (changed("servers", [state.servers, more])) showServers(state.servers, more);
    if (changed("websockets", [state.websockets, more])) showWebSockets(state.websockets, more);
    showKinds(state.kinds);
    if (changed("handles", [state.handles, more])) showHandles(state.handles, more);
  });
  last = state;
  lastAt = now;
}
function live(text, lost) {
  if (at("live").textContent !== text) at("live").textContent = text;
  at("live").className = lost ? "lost" : "";
}
at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", paused);
  if (!paused && waits) show(waits);
  waits = null;
});
const events = new EventSource("events" + location.search);
events.onmessage = (message) => {
  live("\u25cf live", false);
  const state = JSON.parse(message.data);
  if (paused) waits = state; else show(state);
};
events.onerror = () => live(events.readyState === 2 ? "refused" : "lost, trying again", true);
"""

SCRIPT = ELEMENTS + PARTS + GRAPH + SHOW
