"use strict";
(function () {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const pictures = JSON.parse(document.getElementById("picture-data").textContent);
  const element = (tag, options = {}, children = []) => {
    const node = Object.assign(document.createElement(tag), options);
    node.append(...children);
    return node;
  };
  const shown = (value) => (value === null || value === undefined ? "–" : value.toFixed(Math.abs(value) < 10 ? 3 : 1));
  const mean = (values) => {
    const there = values.filter((value) => value !== null);
    return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
  };
  const MOST_ROWS = 500;

  // ---- charts: one metric at a time
  document.querySelectorAll("[data-chart]").forEach((button) =>
    button.addEventListener("click", () => {
      document.querySelectorAll("[data-chart]").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      document.querySelectorAll(".chart").forEach((chart) => { chart.hidden = chart.id !== button.dataset.chart; });
    }));

  // ---- the case table
  // data.rows: [case, label, status, counted values...]; numbers of cases and labels, values as the protocol counts them
  const state = { text: "", label: "", status: "", by: data.cases.length > 1 ? "case" : "label", sort: "Dice", falling: false };
  const table = document.getElementById("case-table");
  const columns = () => {
    const metrics = data.metrics.map((metric, index) => ({ title: metric.title, value: (row) => row.values[index], number: true }));
    const start = [{ title: "case", value: (row) => row.name }];
    if (state.by === "label") start.push({ title: "label", value: (row) => row.label, word: true });
    if (data.groups) start.push({ title: "part", value: (row) => data.groups[row.case], word: true });
    const end = state.by === "case"
      ? [{ title: "worst label", value: (row) => row.worst, word: true }, { title: "missed", value: (row) => row.missed, number: true, whole: true },
         { title: "spurious", value: (row) => row.spurious, number: true, whole: true }]
      : [{ title: "status", value: (row) => row.status, word: true, badge: true }];
    return [...start, ...metrics, ...end];
  };
  const fits = (row) => (!state.label || data.labels[row[1]] === state.label) && (!state.status || row[2] === state.status);
  const collect = () => {
    const wanted = data.rows.filter(fits);
    const text = state.text.toLowerCase();
    let rows;
    if (state.by === "label") {
      rows = wanted.map((row) => ({ case: row[0], name: data.cases[row[0]], label: data.labels[row[1]], status: row[2], values: row.slice(3) }));
    } else {
      const byCase = new Map();
      wanted.forEach((row) => byCase.set(row[0], [...(byCase.get(row[0]) || []), row]));
      rows = [...byCase].map(([number, own]) => {
        const scored = own.filter((row) => row[3] !== null).sort((a, b) => a[3] - b[3]);
        return {
          case: number, name: data.cases[number], values: data.metrics.map((_, index) => mean(own.map((row) => row[3 + index]))),
          worst: scored.length ? `${data.labels[scored[0][1]]} (${shown(scored[0][3])})` : "–",
          missed: own.filter((row) => row[2] === "missed").length, spurious: own.filter((row) => row[2] === "spurious").length,
        };
      });
    }
    return rows.filter((row) => !text || `${row.name} ${row.label || ""} ${row.worst || ""}`.toLowerCase().includes(text));
  };
  const compare = (a, b) => {
    const missing = (value) => value === null || value === undefined;
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return (typeof a === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true })) * (state.falling ? -1 : 1);
  };
  const draw = () => {
    const all = columns();
    const active = all.find((column) => column.title === state.sort);
    const rows = collect();
    if (active) rows.sort((a, b) => compare(active.value(a), active.value(b)));
    const head = element("tr", {}, all.map((column) => {
      const button = element("button", { type: "button", textContent: column.title });
      button.addEventListener("click", () => {
        state.falling = state.sort === column.title && !state.falling;
        state.sort = column.title;
        draw();
      });
      const cell = element("th", { scope: "col", className: column.word ? "word" : "" }, [button]);
      if (column === active) cell.setAttribute("aria-sort", state.falling ? "descending" : "ascending");
      return cell;
    }));
    const body = rows.slice(0, MOST_ROWS).map((row) => {
      const line = element("tr", { className: "open-case", tabIndex: 0 }, all.map((column, index) => {
        const value = column.value(row);
        const content = column.number ? (column.whole ? String(value) : shown(value)) : value;
        const cell = element(index ? "td" : "th", { className: column.word ? "word" : "" });
        cell.append(column.badge ? element("span", { className: `badge ${value}`, textContent: value }) : content);
        return cell;
      }));
      const open = () => openCase(row.case, row.label);
      line.addEventListener("click", open);
      line.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
      return line;
    });
    table.replaceChildren(element("thead", {}, [head]), element("tbody", {}, body));
    document.getElementById("case-count").textContent =
      rows.length > MOST_ROWS ? `${MOST_ROWS} of ${rows.length} rows shown: filter to see the others` : `${rows.length} row${rows.length === 1 ? "" : "s"}`;
  };
  const control = (identifier, key) => {
    const node = document.getElementById(identifier);
    node.value = state[key];
    node.addEventListener(node.tagName === "SELECT" ? "change" : "input", () => { state[key] = node.value; draw(); });
  };
  data.labels.forEach((label) => document.getElementById("filter-label").append(element("option", { value: label, textContent: label })));
  control("filter-text", "text"); control("filter-label", "label"); control("filter-status", "status"); control("view-by", "by");
  draw();

  // ---- one case, opened
  const openCase = (number, label) => {
    const detail = document.getElementById("case-detail");
    const own = data.rows.filter((row) => row[0] === number && row[2] !== "absent").sort((a, b) => (a[3] ?? 2) - (b[3] ?? 2));
    const header = element("tr", {}, ["label", "status", ...data.metrics.map((metric) => metric.title)].map((title) => element("th", { textContent: title })));
    const lines = own.map((row) => element("tr", {}, [
      element("th", { scope: "row", textContent: data.labels[row[1]] }),
      element("td", {}, [element("span", { className: `badge ${row[2]}`, textContent: row[2] })]),
      ...row.slice(3).map((value) => element("td", { textContent: shown(value) })),
    ]));
    const scores = element("div", { className: "scroll" }, [element("table", {}, [element("thead", {}, [header]), element("tbody", {}, lines)])]);
    scores.style.maxHeight = "300px";
    detail.hidden = false;
    detail.replaceChildren(element("h3", { textContent: data.cases[number] }), scores);
    const picture = pictures.findIndex((one) => one.case === data.cases[number]);
    if (picture >= 0) { show(picture, label ? data.labels.indexOf(label) + 1 : 0); document.getElementById("worst").scrollIntoView({ behavior: "smooth" }); }
    else { detail.append(element("p", { className: "small", textContent: "There is no picture of this case: the page keeps as many of the worst cases as fit." })); detail.scrollIntoView({ block: "nearest" }); }
  };

  // ---- pictures: image, labels in red (reference) and green (prediction) channels of one tall PNG
  const pixels = (source, height) => new Promise((done) => {
    const image = new Image();
    image.onload = () => {
      const canvas = element("canvas", { width: image.width, height: image.height });
      const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
      context.drawImage(image, 0, 0);
      done((slice) => context.getImageData(0, slice * height, image.width, height).data);
    };
    image.src = source;
  });
  const colour = (number) => data.colours[number - 1];
  const MISSED = [255, 70, 200], EXTRA = [255, 200, 40], BOTH = [70, 190, 255];
  const current = { picture: -1, slice: 0, label: 0, fill: 0.45, window: "soft-tissue", loaded: new Map() };
  // what a byte of the image looks like: CT in the chosen window, others as they are
  const brightness = (one) => {
    const [low, high] = data.windows[current.window];
    return one.ct ? data.hounsfield.map((value) => Math.max(0, Math.min(255, (255 * (value - low)) / (high - low)))) : [...Array(256).keys()];
  };
  const slider = document.getElementById("slice"), choice = document.getElementById("picture-label");
  const load = async (index) => {
    if (!current.loaded.has(index)) {
      const one = pictures[index];
      current.loaded.set(index, { labels: await pixels(one.labels, one.height), image: one.image && await pixels(one.image, one.height) });
    }
    return current.loaded.get(index);
  };
  const paint = async () => {
    const one = pictures[current.picture], source = await load(current.picture);
    const labels = source.labels(current.slice), image = source.image && source.image(current.slice);
    const { width, height } = one, size = width * height, bright = brightness(one);
    const chosen = current.label ? new Set(data.values[current.label - 1]) : null;
    const visible = (number) => number > 0 && (!chosen || chosen.has(number));
    ["reference", "prediction", "difference"].forEach((name, panel) => {
      const canvas = document.getElementById(`film-${name}`);
      canvas.width = width; canvas.height = height;
      canvas.style.aspectRatio = String(one.aspect);
      const context = canvas.getContext("2d"), out = context.createImageData(width, height);
      for (let index = 0; index < size; index += 1) {
        const at = index * 4, truth = visible(labels[at]) ? labels[at] : 0, guess = visible(labels[at + 1]) ? labels[at + 1] : 0;
        let tint = null, strength = current.fill;
        if (panel === 0 && truth) tint = colour(truth);
        if (panel === 1 && guess) tint = colour(guess);
        if (panel === 2 && (truth || guess)) {
          const agree = truth === guess || (chosen && truth && guess);
          tint = agree ? BOTH : truth ? MISSED : EXTRA;
          strength = agree ? current.fill * 0.6 : Math.min(1, current.fill + 0.35);
        }
        for (let channel = 0; channel < 3; channel += 1) {
          const base = image ? bright[image[at + channel]] : 24;
          out.data[at + channel] = tint ? base * (1 - strength) + tint[channel] * strength : base;
        }
        out.data[at + 3] = 255;
      }
      context.putImageData(out, 0, 0);
    });
    document.getElementById("slice-name").textContent = one.total > 1 ? `slice ${one.slices[current.slice] + 1} of ${one.total}` : "";
  };
  const show = (index, label) => {
    const one = pictures[index];
    Object.assign(current, { picture: index, slice: one.start, label });
    document.querySelectorAll("[data-picture]").forEach((button) => button.setAttribute("aria-pressed", String(Number(button.dataset.picture) === index)));
    slider.max = String(one.slices.length - 1); slider.value = String(one.start); slider.parentElement.hidden = one.slices.length < 2;
    document.getElementById("ct-window").hidden = !one.ct;
    choice.value = String(label);
    document.getElementById("picture-name").textContent = one.case;
    document.querySelectorAll(".film").forEach((film) =>
      ["left", "right", "top", "bottom"].forEach((side, number) => { film.querySelector(`.${side}`).textContent = one.marks[number]; }));
    paint();
  };
  if (pictures.length) {
    choice.append(element("option", { value: "0", textContent: "all labels" }));
    data.labels.forEach((label, index) => choice.append(element("option", { value: String(index + 1), textContent: label })));
    const key = document.getElementById("label-colours");
    data.labels.forEach((label, index) => {
      const swatch = element("i"), name = element("span", {}, [swatch, label]);
      swatch.style.background = `rgb(${colour(data.values[index][0]).join(",")})`;
      key.append(name);
    });
    const windows = document.querySelector("#ct-window select");
    Object.keys(data.windows).forEach((name) => windows.append(element("option", { value: name, textContent: name.replace("-", " ") })));
    windows.addEventListener("change", () => { current.window = windows.value; paint(); });
    slider.addEventListener("input", () => { current.slice = Number(slider.value); paint(); });
    choice.addEventListener("change", () => { current.label = Number(choice.value); paint(); });
    document.getElementById("fill").addEventListener("input", (event) => { current.fill = Number(event.target.value); paint(); });
    document.querySelectorAll("[data-picture]").forEach((button) => button.addEventListener("click", () => show(Number(button.dataset.picture), current.label)));
    show(0, 0);
  }
}());
