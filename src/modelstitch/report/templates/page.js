"use strict";
// Draws the charts, carries what is picked from one to all, and shows the record of a picked stitching.
// Text of the run reaches the page through textContent alone.
(() => {
  const held = JSON.parse(document.getElementById("data").textContent);
  const unpacked = ({ n, columns }) => {
    const rows = Array.from({ length: n }, () => ({}));
    for (const [name, column] of Object.entries(columns)) {
      for (let i = 0; i < n; i++) rows[i][name] = column.values ? column.values[i] : column.levels[column.rows[i]];
    }
    return rows;
  };
  const rows = Object.fromEntries(Object.entries(held.datasets).map(([name, data]) => [name, unpacked(data)]));
  const byKey = new Map(rows.records.map((row) => [row.key, row]));
  const picks = { pair: "", measure: "", picked: "", compared: "", similarity: "", ...held.picks };
  const views = [];
  const select = (name) => document.querySelector(`select[data-pick="${name}"]`);
  const distinct = (list, name) => [...new Set(list.map((row) => row[name]))];
  const stitched = rows.records.filter((row) => row.control !== "self");

  function offer(name, values, label = (value) => value) {
    const box = select(name);
    if (!box) return;
    for (const value of values) box.append(new Option(label(value), value));
  }

  function called(row) {
    const cuts = row.bottom_cut === row.top_cut ? row.top_cut : `${row.bottom_cut} → ${row.top_cut}`;
    const parts = [cuts];
    if (!picks.pair) parts.unshift(row.pair);
    if (!picks.setting && row.setting) parts.push(row.setting);
    if (row.control) parts.push(row.control);
    if (row.status === "failed") parts.push("failed");
    return parts.join(" · ");
  }

  function offerStitchings() {
    const box = select("picked");
    const fits = (row) => (!picks.pair || row.pair === picks.pair) &&
      (!picks.setting || row.setting === picks.setting || row.control === "self");
    const shown = rows.records.filter((row) => fits(row) || row.key === picks.picked);
    box.replaceChildren(new Option("none", ""), ...shown.map((row) => new Option(called(row), row.key)));
    box.value = picks.picked;
  }

  const { titles: TITLES, order: FIRST, decimals: DECIMALS } = held.words;
  const HIDDEN = new Set(held.words.hidden);

  function told(row, name) {
    const value = row[name];
    if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length)) return null;
    if (`${name}_low` in row) {
      const signed = (x) => (x < 0 ? "" : "+") + x.toFixed(name === "penalty" ? DECIMALS[row.unit] : 4);
      return `${signed(value)} [${signed(row[`${name}_low`])}, ${signed(row[`${name}_high`])}]`;
    }
    if (Array.isArray(value)) return value.map((x) => x.toPrecision(4)).join(", ");
    if (typeof value === "object") {
      return Object.entries(value).map(([key, one]) => `${key} ${one}`).join(", ") || null;
    }
    if (typeof value !== "number") return String(value);
    return Number.isInteger(value) ? value.toLocaleString("en-GB") : String(+value.toPrecision(5));
  }

  function showRecord() {
    const row = byKey.get(picks.picked);
    const list = document.getElementById("record");
    list.replaceChildren();
    document.getElementById("no-record").hidden = !!row;
    const line = document.getElementById("picked-line");
    line.textContent = !row ? "nothing yet" : `${row.stitching}${row.control ? ` (${row.control})` : ""}: ` +
      (row.status === "ok" ? `${told(row, "penalty")} ${row.unit}` : "failed");
    for (const name of row ? new Set([...FIRST, ...Object.keys(row)]) : []) {
      const text = HIDDEN.has(name) ? null : told(row, name);
      if (text === null) continue;
      const [pair, term, value] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
      term.textContent = TITLES[name] ?? name.replaceAll("_", " ");
      value.textContent = text;
      pair.append(term, value);
      list.append(pair);
    }
    for (const line of document.querySelectorAll("tr.shown")) line.classList.remove("shown");
    if (row) document.querySelector(`tr[data-key="${CSS.escape(row.key)}"]`)?.classList.add("shown");
  }

  function showNames() {
    const measure = select("measure");
    const names = {
      measure: measure?.selectedOptions[0]?.textContent ?? "",
      pair: picks.pair || (stitched[0]?.pair ?? ""),
    };
    for (const place of document.querySelectorAll("output[data-shows]")) place.textContent = names[place.dataset.shows];
  }

  async function pick(name, value) {
    picks[name] = value;
    const box = select(name);
    if (box && box.value !== value) box.value = value;
    if (name !== "picked") offerStitchings();
    else if (value && box.value !== value) offerStitchings();
    if (name === "picked") showRecord();
    showNames();
    for (const view of views) {
      if (name in view.getState().signals) await view.signal(name, value).runAsync();
    }
  }

  async function draw(place) {
    const spec = structuredClone(held.charts[place.dataset.chart]);
    const text = JSON.stringify(spec);
    spec.datasets ??= {};
    for (const [name, list] of Object.entries(rows)) {
      // Each chart has rows of its own: drawing marks them.
      if (text.includes(`"name":"${name}"`)) spec.datasets[name] = list.map((row) => ({ ...row }));
    }
    for (const param of spec.params ?? []) if (picks[param.name]) param.value = picks[param.name];
    // As many names beside each other as the place has room for.
    const names = distinct(stitched, "pair").map((name) => 40 + 6.8 * name.length);
    spec.config.legend.columns = Math.max(1, Math.floor((place.clientWidth - 60) / Math.max(120, ...names)));
    spec.config.legend.layout = { bottom: { direction: "vertical", anchor: "start", margin: 6 } };
    spec.config.legend.labelLimit = Math.max(120, place.clientWidth - 90);
    const config = { font: getComputedStyle(document.body).fontFamily, background: null };
    // `ast` reads expressions instead of compiling them, so that the page may forbid making code from text.
    const options = { actions: false, renderer: "svg", ast: true, config, tooltip: { theme: "custom" },
      // Errors alone: a scale without rows, such as that of a published curve of another measure, is no fault.
      logLevel: 1 };
    const { view } = await vegaEmbed(place, spec, options);
    views.push(view);
    view.addEventListener("click", (_, item) => {
      const key = item?.datum?.key;
      if (byKey.has(key)) pick("picked", key);
    });
    if ("clicked" in view.getState().signals) {
      view.addSignalListener("clicked", (_, value) => {
        const [pair] = value.pair ?? [""];
        pick("pair", pair === picks.pair ? "" : pair);
      });
    }
  }

  function sort(button) {
    const head = button.closest("th");
    const body = button.closest("table").tBodies[0];
    const index = [...head.parentNode.children].indexOf(head);
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const read = (row) => row.children[index].textContent;
    const size = (text) => parseFloat(text.replaceAll(",", ""));
    const order = (a, b) => {
      const [x, y] = [size(a), size(b)];
      // What has no number stands last, whichever way the rest is turned.
      if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
      return (Number.isNaN(x) ? a.localeCompare(b) : x - y) * (down ? -1 : 1);
    };
    body.append(...[...body.rows].sort((a, b) => order(read(a), read(b))));
  }

  document.addEventListener("change", (event) => {
    if (event.target.dataset.pick) pick(event.target.dataset.pick, event.target.value);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.sort");
    if (button) sort(button);
    const line = event.target.closest?.("tr[data-key]");
    if (line) pick("picked", line.dataset.key);
  });
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  window.addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

  offer("pair", distinct(stitched, "pair"));
  offer("setting", distinct(stitched, "setting").filter((setting) => setting));
  offer("compared", distinct(rows.similarities, "pair"));
  offer("similarity", distinct(rows.similarities, "measure"));
  for (const name of ["pair", "setting"]) {
    const box = select(name);
    if (box) { box.value = picks[name]; box.closest("p").hidden = box.options.length < 3; }
  }
  for (const name of ["measure", "compared", "similarity"]) picks[name] = select(name)?.value ?? "";
  if (matchMedia("(max-width: 900px)").matches) document.getElementById("picks").open = false;
  offerStitchings();
  showNames();
  (async () => {
    for (const place of document.querySelectorAll(".chart")) await draw(place);
    document.documentElement.dataset.drawn = "true";
  })();
})();
