"""How pages look: on a screen by day and by night, on a small one, and on paper. One source of colours, of text and of
the shapes in pictures, for the page of an evaluation and for the dashboard."""

from __future__ import annotations

COLOURS = """
:root { color-scheme: light dark; --paper: light-dark(#fff, #14171d); --ink: light-dark(#1d2230, #e6e8ee);
  --soft: light-dark(#5a6172, #a3a9b8); --rule: light-dark(#d9dce3, #363c49); --faint: light-dark(#eceef2, #232833);
  --one: light-dark(#1560a8, #74b3f2); --other: light-dark(#8a4b08, #e8a35c); --three: light-dark(#17715a, #63c9a4);
  --four: light-dark(#7440a3, #c3a0ef); --five: light-dark(#a8265f, #f08fb6); --heat: light-dark(#1560a8, #4a8fd6);
  --promote: light-dark(#17693a, #6ccf94); --wait: light-dark(#7a5600, #e0b84c);
  --refuse: light-dark(#a11d2b, #f08a93); }
:root[data-theme=light] { color-scheme: light; } :root[data-theme=dark] { color-scheme: dark; }
"""

SHARED = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; overflow-wrap: break-word; }
p { margin: .4rem 0; max-width: 48rem; }
.kicker { color: var(--soft); font-size: .85rem; letter-spacing: .04em; margin: 0; }
.note { max-width: none; }
.note, figcaption, caption { color: var(--soft); font-size: .875rem; }
.verdict { border-left: .4rem solid var(--tone); background: var(--faint); padding: .8rem 1.1rem; margin: 1.2rem 0; }
.verdict h2 { position: absolute; width: 1px; height: 1px; margin: 0; padding: 0; border: 0; overflow: hidden;
  clip-path: inset(50%); }
.promote { --tone: var(--promote); } .wait { --tone: var(--wait); } .refuse { --tone: var(--refuse); }
.answer { font-size: 1.15rem; } .answer b { color: var(--tone); }
.verdict ul { margin: .5rem 0 0; padding-left: 1.2rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .8rem; margin: 1rem 0; }
.cards div { border: 1px solid var(--rule); padding: .6rem .8rem; }
.cards dt { color: var(--soft); font-size: .85rem; }
.cards dd { margin: 0; font-variant-numeric: tabular-nums; font-size: 1.25rem; line-height: 1.3; }
.cards dd + dd { font-size: .875rem; color: var(--soft); }
.facts { margin: .4rem 0; }
.facts div { display: grid; grid-template-columns: 13rem 1fr; gap: .2rem 1rem; padding: .3rem 0;
  border-bottom: 1px solid var(--faint); }
.facts dt { color: var(--soft); } .facts dd { margin: 0; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 23rem), 1fr)); gap: .5rem 1.5rem;
  align-items: start; }
.pair > * { min-width: 0; }
figure { margin: .6rem 0; break-inside: avoid; }
figure > svg[viewBox] { display: block; width: 100%; max-width: 34rem; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.2rem; margin: .2rem 0; font-size: .875rem; }
.legend svg { vertical-align: -.15rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-size: .9rem; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--faint); }
thead th { color: var(--soft); font-weight: 500; border-bottom: 1px solid var(--rule); }
td.long { min-width: 15rem; }
tbody th { font-weight: 500; min-width: 8.5rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.refusals { font-size: .9rem; padding-left: 1.2rem; margin: .5rem 0; }
svg { overflow: visible; }
svg text { font: 12px system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .tick, svg .unit { fill: var(--soft); font-size: 11px; } svg .strong { font-weight: 700; }
svg .refused { fill: var(--soft); font-style: italic; font-size: 11px; paint-order: stroke; stroke: var(--paper);
  stroke-width: 4px; }
svg .axis { stroke: var(--soft); } svg .grid { stroke: var(--faint); }
svg .reference { stroke: var(--ink); stroke-dasharray: 2 3; }
.mark line { stroke-width: 2.5; stroke: var(--tint); }
.mark .beyond { fill: none; stroke: var(--tint); stroke-width: 2; }
.mark .shape { fill: var(--tint); stroke: var(--tint); stroke-width: 1.5; }
.candidate, .gain, .unsure { --tint: var(--one); } .against { --tint: var(--other); }
.mark.against line { stroke-dasharray: 4 2.5; stroke-width: 2; }
.mark.against .shape, .mark.unsure .shape { fill: var(--paper); }
.curve { fill: none; stroke: var(--tint); stroke-width: 2; } .curve.against { stroke-dasharray: 5 3; }
.band { fill: var(--tint); fill-opacity: .16; stroke: none; }
.bar { fill: var(--one); fill-opacity: .75; } .bar.none { fill: var(--soft); }
.carried { fill: none; stroke: var(--other); stroke-width: 1.8; }
"""

STYLE = (
    COLOURS
    + SHARED
    + """
main, footer { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem; }
main { padding-bottom: 0; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .1rem 0 .3rem; }
h2 { font-size: 1.3rem; margin: 2.4rem 0 .4rem; padding-top: .8rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.02rem; margin: 1.5rem 0 .3rem; }
footer { color: var(--soft); }
@media (max-width: 40rem) { .number { white-space: normal; } tbody th { min-width: 5rem; } table { font-size: .82rem; }
  td, th { padding-right: .6rem; } .facts div { grid-template-columns: 1fr; } h1 { font-size: 1.3rem; } }
@media print { @page { margin: 15mm; }
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --rule: #999; --faint: #e4e4e4;
    --one: #0b4f8f; --other: #7a3d00; --promote: #0c5229; --wait: #5e4200; --refuse: #8a1420; }
  body { font-size: 9.5pt; } .cards { grid-template-columns: repeat(4, 1fr); }
  main, footer { max-width: none; padding: 0; } h2, h3, caption { break-after: avoid; }
  tr, .cards div, .facts div { break-inside: avoid; } .verdict { background: none; border: 1pt solid var(--tone);
    border-left-width: 5pt; } .scroll { overflow: visible; } .pair { grid-template-columns: 1fr 1fr; gap: .5rem 1rem; }
  .note, figcaption, caption, .legend, .refusals { font-size: 8.5pt; } table { font-size: 8pt; }
  .pair .number { white-space: normal; } tbody th, td.long { min-width: 0; }
  th, td { padding-right: .6rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""
)
