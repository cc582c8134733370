"use strict";
// The page works without this file: everything is there, in order, and drawn. It adds filters,
// tabs, copying, and charts that answer.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);
document.documentElement.classList.add("js");

// ---------------------------------------------------------------- filters, kept in the address

const state = { verdict: new Set(), week: new Set(), q: "" };

function stateOf(hash) {
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  state.verdict = new Set((asked.get("verdict") || "").split(",").filter(Boolean));
  state.week = new Set((asked.get("week") || "").split(",").filter(Boolean));
  state.q = asked.get("q") || "";
}

function hashOf() {
  const said = [];
  if (state.verdict.size) said.push("verdict=" + [...state.verdict].join(","));
  if (state.week.size) said.push("week=" + [...state.week].join(","));
  if (state.q) said.push("q=" + encodeURIComponent(state.q));
  return said.join("&");
}

function matches(card) {
  const within = (chosen, value) => !chosen.size || chosen.has(value);
  if (!within(state.verdict, card.dataset.verdict)) return false;
  if (!within(state.week, card.dataset.part)) return false;
  const text = (one("header", card).textContent + one(".verdict", card).textContent).toLowerCase();
  return state.q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function applyFilters() {
  const cards = all(".card");
  let shown = 0;
  for (const card of cards) {
    const fits = matches(card);
    shown += fits;
    card.hidden = !fits;
    one(`.row[data-claim="${card.id}"]`).hidden = !fits;
  }
  for (const list of all(".forest .rows")) {
    const empty = all(".row", list).every((row) => row.hidden);
    list.hidden = empty;
    list.previousElementSibling.hidden = empty;
  }
  for (const list of all(".list")) list.hidden = all(".row", list).every((row) => row.hidden);
  for (const note of all(".nothing")) note.hidden = shown > 0;
  one("#shown").textContent = `${shown} of ${cards.length} claims`;
  one("#clear").hidden = !hashOf();
  one("#search").value = state.q;
  for (const chip of all("[data-filter]")) {
    chip.setAttribute("aria-pressed", state[chip.dataset.filter].has(chip.dataset.value));
  }
}

function remember() {
  const hash = hashOf();
  history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
  applyFilters();
}

function clearFilters() {
  state.verdict.clear();
  state.week.clear();
  state.q = "";
}

function followAddress() {
  const hash = decodeURIComponent(location.hash);
  if (hash.includes("=")) {
    stateOf(location.hash);
    applyFilters();
    return;
  }
  const found = hash.length > 1 && document.getElementById(hash.slice(1));
  if (!found) return;
  const target = found.closest(".card") || found;
  if (target.hidden) {  // a link to a claim wins over filters that hide it
    clearFilters();
    applyFilters();
  }
  target.scrollIntoView();
  if (target.matches(".card")) target.focus({ preventScroll: true });
}

function startFilters() {
  const form = one("#filters");
  if (!form) return;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const chip of all("[data-filter]", form)) {
    chip.addEventListener("click", () => {
      const chosen = state[chip.dataset.filter], value = chip.dataset.value;
      if (!chosen.delete(value)) chosen.add(value);
      remember();
    });
  }
  one("#search").addEventListener("input", (event) => {
    state.q = event.target.value.trim();
    const typed = event.target.value;
    remember();
    event.target.value = typed;
  });
  one("#clear").addEventListener("click", () => {
    clearFilters();
    remember();
    one("#search").focus();
  });
  addEventListener("hashchange", followAddress);
  applyFilters();
  followAddress();
}

// ---------------------------------------------------------------- tabs from headed sections

function choose(tabs, chosen, focus) {
  for (const tab of tabs) {
    const on = tab === chosen;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
  }
  if (focus) chosen.focus();
}

function startTabs(group) {
  const panels = all(":scope > .panel", group);
  if (panels.length < 2) return;
  const list = document.createElement("div");
  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", group.getAttribute("aria-label"));
  const tabs = panels.map((panel) => {
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = panel.id + "-tab";
    tab.textContent = panel.dataset.tab;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", panel.id);
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    panel.tabIndex = 0;
    return tab;
  });
  list.append(...tabs);
  group.prepend(list);
  const deciding = panels.findIndex((panel) => one(".primary", panel));
  choose(tabs, tabs[Math.max(deciding, 0)], false);
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) choose(tabs, tab, false);
  });
  list.addEventListener("keydown", (event) => {
    const last = tabs.length - 1, at = tabs.indexOf(document.activeElement);
    const to = { ArrowLeft: at ? at - 1 : last, ArrowRight: at < last ? at + 1 : 0, Home: 0, End: last };
    if (!(event.key in to)) return;
    event.preventDefault();
    choose(tabs, tabs[to[event.key]], true);
  });
}

// ---------------------------------------------------------------- copying a command

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

function startCopy(button) {
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const done = await copy(one("code", button.parentElement).textContent);
    button.textContent = done ? "Copied" : "Select and copy";
    if (!done) getSelection().selectAllChildren(one("code", button.parentElement));
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  });
}

// ---------------------------------------------------------------- charts, when they come near

async function draw(figure) {
  const live = one(".live", figure);
  const key = Math.floor(figure.clientWidth) + (dark.matches ? " dark" : "");
  if (!figure.clientWidth || figure.dataset.drawn === key) return;
  figure.dataset.drawn = key;
  live.hidden = false;
  try {
    figure.view = await drawChart(live, one("script", figure).textContent, figure.view);
    figure.classList.add("drawn");
  } catch (error) {
    live.textContent = "The chart could not be drawn: " + error;
    console.error(error);
  }
}

function startCharts() {
  const figures = all("[data-chart]").filter((figure) => one(".live", figure));
  const near = new Set();
  const watch = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      near[isIntersecting ? "add" : "delete"](target);
      if (isIntersecting) draw(target);
    }
  }, { rootMargin: "600px 0px" });
  figures.forEach((figure) => watch.observe(figure));
  const again = () => near.forEach(draw);
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(again, 150); });
  dark.addEventListener("change", again);
}

startFilters();
all("[data-tabs]").forEach(startTabs);
all(".copy").forEach(startCopy);
addEventListener("DOMContentLoaded", startCharts);  // when the bundle below has been read
