// What pages do beside being read: follow the figures, answer sliders at once, tell points, save pictures, keep the
// colours that were chosen. Without this script everything else works.
"use strict";

const page = document.documentElement;
const THEME = "bondhu theme";
const PAUSE = 2000; // milliseconds between two looks at the figures, at least
const WAIT = 150; // milliseconds after the last touch of a form until it is asked

// ---------------------------------------------------------------------------------------------------------- colours
function recall() {
  try { return localStorage.getItem(THEME) || ""; } catch { return ""; } // a browser that keeps nothing
}

const colour = (theme) => (theme ? (page.dataset.theme = theme) : delete page.dataset.theme);

page.classList.add("scripted");
colour(recall()); // before anything is painted: this script stands in the head

function offerColours() {
  const choice = document.getElementById("theme");
  if (!choice) return;
  choice.hidden = false;
  choice.value = recall();
  choice.addEventListener("change", () => {
    colour(choice.value);
    try { localStorage.setItem(THEME, choice.value); } catch {} // then it holds for this page
  });
}

// ------------------------------------------------------------------------------------------------- following figures
async function fetched(address) {
  const answer = await fetch(address, { headers: { "x-part": "main" }, credentials: "same-origin" });
  if (answer.redirected && new URL(answer.url).pathname !== new URL(address, location.href).pathname) {
    location.reload(); // the session has ended: the reader is asked to log in
    return null;
  }
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

const inUse = (part) => part.contains(document.activeElement) || part.querySelector("details[open], dialog[open]");

const sent = new WeakMap(); // each part as the server sent it, before this script touched it

function remember(part) {
  for (const each of [part, ...part.querySelectorAll("[data-live], [data-answer]")]) sent.set(each, each.outerHTML);
}

function swap(old, found) {
  remember(found);
  tell(null);
  old.replaceWith(found);
  enliven(found);
}

function taken(fresh, kind) {
  for (const old of document.querySelectorAll(kind)) {
    const found = fresh.getElementById(old.id);
    if (found && found.outerHTML !== sent.get(old) && (kind !== "[data-live]" || !inUse(old))) swap(old, found);
  }
}

let [asked, due] = [0, false];

function follow() {
  if (due) return;
  due = true;
  if (!document.hidden) setTimeout(look, Math.max(0, asked + PAUSE - Date.now()));
}

async function look() {
  [due, asked] = [false, Date.now()];
  const address = location.href;
  const fresh = await fetched(address).catch(() => null); // the next event asks again
  if (fresh && address === location.href) taken(fresh, "[data-live]");
}

function listen() {
  if (!page.dataset.events || !document.querySelector("[data-live]")) return;
  const lost = document.getElementById("connection");
  const events = new EventSource(page.dataset.events);
  events.addEventListener("changed", follow);
  events.addEventListener("open", () => (lost.hidden = true));
  events.addEventListener("error", () => (lost.hidden = false));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden || !due) return;
    due = false;
    follow();
  });
  addEventListener("pagehide", () => events.close());
}

// -------------------------------------------------------------------------------------------------------------- forms
function saying(form) { // what it asks, and what the other forms of the page asked before
  const [said, now] = [new URLSearchParams(new FormData(form)), new URLSearchParams(location.search)];
  for (const { elements } of document.querySelectorAll("form[data-now]"))
    for (const { name, type } of elements === form.elements ? [] : elements)
      if (type !== "hidden" && now.has(name)) said.set(name, now.get(name));
  return said;
}

let shown = location.pathname + location.search; // whose answers stand in the page

function answering(form) {
  let [timer, number, begun, over] = [0, 0, false, true]; // a slide is one step back, however often it was answered
  const ask = async () => {
    const address = new URL(form.getAttribute("action"), location.href); // a field may be called "action"
    address.search = saying(form);
    const mine = ++number;
    const fresh = await fetched(address).catch(() => null);
    if (!fresh || mine !== number) return;
    history[begun ? "replaceState" : "pushState"](null, "", address);
    begun = true;
    shown = location.pathname + location.search;
    taken(fresh, "[data-answer]");
  };
  form.addEventListener("change", () => (over = true));
  form.addEventListener("input", (event) => {
    const said = document.getElementById(`said-${event.target.name}`);
    if (said) said.textContent = event.target.value;
    if (over) [begun, over] = [false, false];
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
}

async function back() { // to what was asked before: all of the page, as its forms say other things too
  if (shown === (shown = location.pathname + location.search)) return;
  const address = location.href;
  const fresh = await fetched(address).catch(() => location.reload());
  if (fresh && address === location.href) swap(document.getElementById("main"), fresh.getElementById("main"));
}

// -------------------------------------------------------------------------------------------------- what points tell
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true, role: "status" });

function tell(point) {
  for (const each of document.querySelectorAll(".told")) each.classList.remove("told");
  tip.hidden = !point;
  if (!point) return;
  point.classList.add("told");
  tip.textContent = point.dataset.tip;
  const at = point.getBoundingClientRect();
  const fits = at.right + 8 + tip.offsetWidth < page.clientWidth;
  const left = fits ? at.right + 8 : Math.min(at.left - 8, page.clientWidth - 8) - tip.offsetWidth;
  const above = at.height > 60 ? at.top + 8 : at.top - tip.offsetHeight - 6;
  tip.style.left = `${Math.max(8, left) + scrollX}px`;
  tip.style.top = `${Math.max(4, above) + scrollY}px`;
}

function telling(picture) {
  const points = [...picture.querySelectorAll("[data-tip]")];
  if (!points.length) return;
  if (picture.getAttribute("role") === "img") picture.setAttribute("tabindex", "0");
  let at = -1;
  const step = (to) => tell(points[(at = Math.min(Math.max(to, 0), points.length - 1))]);
  picture.addEventListener("pointermove", (event) => {
    const point = event.target.closest("[data-tip]");
    at = points.indexOf(point);
    tell(point);
  });
  picture.addEventListener("pointerleave", () => tell(null));
  picture.addEventListener("focusin", (event) => tell(event.target.querySelector?.("[data-tip]") || null));
  picture.addEventListener("focusout", () => tell(null));
  picture.addEventListener("keydown", (event) => {
    const ways = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: points.length - 1 };
    if (event.key === "Escape") tell(null);
    if (!(event.key in ways) || event.target !== picture) return;
    event.preventDefault();
    step(ways[event.key]);
  });
}

// ----------------------------------------------------------------------------------------------------------- pictures
const SPACE = "http://www.w3.org/2000/svg";
const LOOKS = `fill fill-opacity stroke stroke-width stroke-opacity stroke-dasharray font overflow paint-order display
  vector-effect text-anchor`.split(/\s+/);

function made(name, about, text = "") {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(about)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

function dressed(picture, about) {
  const copy = picture.cloneNode(true);
  const ours = [picture, ...picture.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((bare, number) => {
    const style = getComputedStyle(ours[number]);
    for (const look of LOOKS) bare.style.setProperty(look, style.getPropertyValue(look));
    if (bare.classList.contains("hit")) bare.remove();
  });
  for (const [key, value] of Object.entries(about)) copy.setAttribute(key, value);
  return copy;
}

function sheetOf(figure) { // the title, the legend where it is shown, and the picture, as they stand in the page
  const picture = figure.querySelector(":scope > svg");
  const [whole, box] = [figure.getBoundingClientRect(), picture.getBoundingClientRect()];
  const words = { fill: getComputedStyle(figure).color, "font-family": getComputedStyle(figure).fontFamily };
  const parts = [made("text", { ...words, x: 8, y: 22, "font-weight": 700 }, figure.querySelector("h3").textContent)];
  const legend = figure.querySelector(".legend");
  const names = legend ? legend.getBoundingClientRect() : { top: 0, height: 0 };
  for (const entry of names.height ? legend.children : []) {
    const sample = entry.querySelector("svg");
    const [from, side] = [entry.getBoundingClientRect(), sample.getBoundingClientRect()];
    const [y, left, right] = [34 + from.top - names.top, side.left - whole.left + 8, side.right - whole.left + 14];
    const small = { ...words, y: y + 12, "font-size": 12 };
    parts.push(dressed(sample, { x: left, y }), made("text", { ...small, x: right }, entry.lastChild.textContent.trim()));
    if (entry.firstChild !== sample) parts.push(made("text", { ...small, x: 8 }, entry.firstChild.textContent));
  }
  const top = 38 + names.height;
  const place = { x: box.left - whole.left + 8, y: top, width: box.width, height: box.height };
  const sheet = made("svg", { xmlns: SPACE, width: whole.width + 16, height: top + box.height + 12 });
  sheet.append(...parts, dressed(picture, place));
  return sheet;
}

function save(name) {
  const sheet = sheetOf(document.getElementById(`chart-${name}`));
  const [width, height] = [sheet.getAttribute("width"), sheet.getAttribute("height")];
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [2 * width, 2 * height];
    const brush = canvas.getContext("2d");
    brush.scale(2, 2);
    brush.fillStyle = getComputedStyle(document.body).backgroundColor;
    brush.fillRect(0, 0, width, height);
    brush.drawImage(image, 0, 0);
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${name}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  };
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(sheet))}`;
}

// ------------------------------------------------------------------------------------------------------------ all of it
function enliven(part) {
  for (const button of part.querySelectorAll("[data-png]")) {
    button.hidden = false;
    button.addEventListener("click", () => save(button.dataset.png));
  }
  for (const form of part.querySelectorAll("form[data-now]")) answering(form);
  for (const picture of part.querySelectorAll(".chart > svg")) telling(picture);
}

addEventListener("DOMContentLoaded", () => {
  remember(document.body);
  document.body.append(tip);
  offerColours();
  enliven(document);
  addEventListener("popstate", back);
  listen();
});
