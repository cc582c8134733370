// A Vega-Lite chart in the room that there is and in the colours of its page, which names them
// --ink, --soft and --line.

const dark = matchMedia("(prefers-color-scheme: dark)");

function lines(text, most) {
  return text.split(" ").reduce((made, word) => {
    const longer = made[made.length - 1] + " " + word;
    return longer.length <= most ? [...made.slice(0, -1), longer] : [...made, word];
  }, [""]).map((line) => line.trim()).filter(Boolean);
}

function narrow(part, room) {
  if (part === null || typeof part !== "object") return;
  if (typeof part.width === "number") part.width = Math.min(part.width, room - 150);
  if (typeof part.height === "number") part.height = Math.min(part.height, room - 40);
  if (part.axis && part.axis.labelLimit) part.axis.labelLimit = room * 0.4;
  if (part.legend) part.legend.columns = 1;
  if (typeof part.title === "string" && part.layer) part.title = lines(part.title, room / 7);
  for (const [key, inner] of Object.entries(part)) {
    if (key !== "data" && key !== "datasets") narrow(inner, room);  // a column may be called width
  }
}

// Near black on a dark page becomes the page's ink.
function lighten(part, ink) {
  for (const [key, inner] of Object.entries(part)) {
    const hex = typeof inner === "string" && /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(inner);
    if (inner === "black" || (hex && hex.slice(1).every((two) => parseInt(two, 16) < 64))) part[key] = ink;
    else if (inner !== null && typeof inner === "object" && key !== "data" && key !== "datasets") lighten(inner, ink);
  }
}

function look(room) {
  const css = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => css.getPropertyValue(name).trim());
  const axis = { labelFontSize: 12, titleFontSize: 12, gridColor: line, labelColor: ink,
    titleColor: ink, domainColor: soft, tickColor: soft };
  const legend = { labelFontSize: 12, titleFontSize: 12, labelColor: ink, titleColor: ink };
  if (room < 700) Object.assign(legend, { orient: "bottom", columns: 2 });
  return { font: "system-ui, sans-serif", axis, legend, view: { stroke: line }, text: { color: ink },
    header: { labelColor: ink, titleColor: ink }, rule: { color: soft },
    title: { anchor: "start", fontSize: 13, color: ink, limit: room } };
}

function keepKnobs(spec, view) {
  if (!view) return;
  for (const knob of spec.params || []) if (knob.bind) knob.value = view.signal(knob.name);
  view.finalize();
}

// Draws, and returns the view; given the view that was there before, its knobs stay as they were.
async function drawChart(place, text, before) {
  const room = Math.floor(place.clientWidth), spec = JSON.parse(text);
  spec.background = "transparent";
  if (room < 700) narrow(spec, room);
  if (dark.matches) lighten(spec, look(room).text.color);
  keepKnobs(spec, before);
  // `ast`: expressions are interpreted, so that a page needs no right to evaluate text.
  const options = { config: look(room), actions: false, renderer: "svg", ast: true };
  return (await vegaEmbed(place, spec, options)).view;
}
