"""The page of an inspector: HTML, a style and a script. It needs nothing from elsewhere.

Rule: the policy lets this one script run, by its hash, and nothing else.

Not here: the script (script.py).
"""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256

from .script import SCRIPT

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1b1f24; --dim: #667080; --line: #e3e6ea;
  --accent: #0a66c2; --soft: #e8f1fb; --good: #1a7f4b; --warn: #b35c00; --bad: #c0262d; --flow: #2f8bdc; --fill: #8ec1f0 }
@media (prefers-color-scheme: dark) { :root { --page: #111418; --card: #1a1e24; --ink: #e5e8ec; --dim: #97a1af; --line: #2a3038;
  --accent: #6cb2ff; --soft: #1d2b3b; --good: #4cc38a; --warn: #f0a35a; --bad: #ff7b80; --flow: #5ab0ff; --fill: #2d5f92 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--page); color: var(--ink); font: 14px/1.45 system-ui, -apple-system, "Segoe UI", Roboto,
  "Noto Sans", sans-serif; font-variant-numeric: tabular-nums }
header { position: sticky; top: 0; z-index: 1; display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline;
  padding: .7rem 1rem; background: var(--card); border-bottom: 1px solid var(--line) }
h1 { margin: 0; font-size: 1.05rem; font-weight: 650; overflow-wrap: anywhere }
header span { color: var(--dim) }
#live { margin-left: auto; color: var(--good) }
button { font: inherit; color: var(--ink); background: var(--page); border: 1px solid var(--line); border-radius: 6px;
  padding: .1rem .7rem; cursor: pointer }
button[aria-pressed="true"] { background: var(--soft); border-color: var(--accent) }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
#live.lost { color: var(--bad) }
main { display: grid; gap: 1rem; padding: 1rem; grid-template-columns: repeat(12, 1fr); max-width: 90rem; margin: auto }
section { grid-column: span 12; min-width: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .8rem 1rem 1rem }
@media (min-width: 60rem) { section.half { grid-column: span 6 } }
h2 { margin: 0 0 .6rem; font-size: .95rem; font-weight: 600 }
h2 small { color: var(--dim); font-weight: 400; margin-left: .4rem }
.figures { display: flex; flex-wrap: wrap; gap: .8rem 1.6rem }
.figure { flex: 1 1 9rem; min-width: 7.5rem }
.figure b { display: block; font-size: 1.5rem; font-weight: 600; line-height: 1.2 }
.figure span { color: var(--dim) }
.figure svg { display: block; width: 100%; height: 34px; margin-top: .2rem }
.scroll { overflow-x: auto; max-width: 100% }
#graph { overflow: auto; max-height: 75vh }
table { width: 100%; border-collapse: collapse }
th, td { padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
tr:last-child td { border-bottom: 0 }
th { color: var(--dim); font-weight: 500; white-space: nowrap }
.n { text-align: right; white-space: nowrap; padding-right: .8rem }
td.wide { width: 100%; overflow-wrap: anywhere; min-width: 11rem }
code { unicode-bidi: isolate; font: 12px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere }
details > summary { cursor: pointer; list-style: none }
details > summary::before { content: "\\25B8"; color: var(--dim); display: inline-block; width: 1em }
details[open] > summary::before { content: "\\25BE" }
details div { color: var(--dim); padding-left: 1em }
.meter { display: inline-block; width: 64px; height: 8px; border-radius: 4px; background: var(--line); overflow: hidden;
  vertical-align: middle; margin-right: .4rem }
.meter i { display: block; height: 100%; background: var(--flow) }
.meter i.full { background: var(--warn) }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin-bottom: .6rem }
.chip { border: 1px solid var(--line); border-radius: 99px; padding: .08rem .6rem; color: var(--dim); white-space: nowrap }
.strong { color: var(--ink); font-weight: 600; overflow-wrap: anywhere; white-space: normal } .bad.strong { color: var(--bad) }
.flat { padding-left: 1em }
@media (max-width: 40rem) { main { padding: .6rem; gap: .6rem } section { padding: .7rem .7rem .8rem }
  .extra { display: none } td.wide { min-width: 9rem } }
.bad { color: var(--bad) } .warn { color: var(--warn) } .good { color: var(--good) } .dim { color: var(--dim) }
.none { margin: 0; color: var(--dim) }
td bdi { overflow-wrap: anywhere }
#graph svg { display: block }
#graph text { fill: var(--ink); font-size: 12px } #graph text.small { fill: var(--dim); font-size: 10.5px }
#graph text.drop { fill: var(--bad) }
#graph .box { fill: var(--soft); stroke: var(--accent); stroke-width: 1 } #graph .box.end { fill: none; stroke: var(--line) }
#graph .box.broken { stroke: var(--bad) } #graph .level { fill: var(--fill) }
#graph .edge { fill: none; stroke: var(--line); stroke-width: 2 } #graph .edge.flows { stroke: var(--flow) }
#graph .bound { stroke: var(--warn); stroke-width: 1.5; stroke-dasharray: 3 3 } #graph text.bound-text { fill: var(--warn);
  stroke: none; font-size: 10.5px }
#graph .dot { fill: var(--flow) }
.curve { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke }
.under { fill: var(--soft); stroke: none }
"""

BODY = """
<header><h1 id="program">icey</h1><span id="what"></span><span id="live" class="lost" role="status">not connected</span>
<button id="pause" type="button" aria-pressed="false">Pause</button></header>
<main>
<section aria-label="Loop"><h2>Loop</h2><div class="figures" id="loop"></div></section>
<section id="streams" aria-label="Packet streams" hidden><h2>Packet streams<small></small></h2>
  <div id="graph" class="scroll" tabindex="0" role="region" aria-label="Graph of the packet streams"></div></section>
<section class="half" id="slots" aria-label="Slowest callbacks">
  <h2>Slowest callbacks<small>of 0.1 ms and more, since somebody looks</small></h2><div></div></section>
<section class="half" id="errors" aria-label="Errors"><h2>Errors<small></small></h2><div></div></section>
<section class="half" id="servers" aria-label="HTTP servers"><h2>HTTP servers<small></small></h2><div></div></section>
<section class="half" id="websockets" aria-label="WebSockets"><h2>WebSockets<small></small></h2><div></div></section>
<section id="handles" aria-label="Handles"><h2>Handles<small></small></h2>
  <div class="chips" id="kinds"></div><div></div></section>
</main>
<noscript><p class="none">This page draws by a script. The same without one: /state.json, /metrics,
  and python3 -m icey inspect.</p></noscript>
"""

PAGE = ("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>icey</title>
<link rel="icon" href="data:,">
<style>%s</style>
</head>
<body>%s<script>%s</script>
</body>
</html>
""" % (STYLE, BODY, SCRIPT)).encode()

_HASH = b2a_base64(sha256(SCRIPT.encode()).digest(), newline=False).decode()
POLICY = ("default-src 'none'; connect-src 'self'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
          "form-action 'none'; frame-ancestors 'none'; script-src 'sha256-%s'" % _HASH)
