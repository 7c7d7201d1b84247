/* One field over time, drawn by uPlot in the page's own colours. The page has the same points as a table. */
(function () {
  "use strict";
  var place = document.getElementById("chart");
  if (!place || !window.uPlot || !window.fetch) return;
  var toggle = document.querySelector("[data-rate]");
  var drawn = null;
  var points = null;

  /* A custom property may be a light-dark() pair: what it comes to is asked of an element that uses it. */
  function colour(name) {
    var probe = document.createElement("span");
    probe.style.color = "var(" + name + ")";
    place.appendChild(probe);
    var found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  }

  function thousands(number) {
    if (number === null || number === undefined) return "—";
    var shown = Math.abs(number) >= 1000 ? Math.round(number).toLocaleString("en-US") : String(Number(number.toPrecision(6)));
    return shown.replace(/,/g, "\u2009").replace("-", "\u2212");
  }

  function short(number) {
    var size = Math.abs(number);
    var units = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
    for (var at = 0; at < units.length; at++) {
      if (size >= units[at][0] * (units[at][0] < 1e15 ? 10 : 1)) return Number((number / units[at][0]).toPrecision(6)) + units[at][1];
    }
    return String(Number(number.toPrecision(5)));
  }

  function clock(seconds) {
    return new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ");
  }

  function two(number) {
    return String(number).padStart(2, "0");
  }

  /* Hours of UTC; the day below the first, and wherever it changes. */
  function ticks(_, splits, __, ___, step) {
    var day = "";
    return splits.map(function (seconds) {
      var at = new Date(seconds * 1000);
      var date = at.getUTCFullYear() + "-" + two(at.getUTCMonth() + 1) + "-" + two(at.getUTCDate());
      if (step >= 86400) return date;
      var text = two(at.getUTCHours()) + ":" + two(at.getUTCMinutes()) + (step < 60 ? ":" + two(at.getUTCSeconds()) : "");
      if (date !== day) text += "\n" + date;
      day = date;
      return text;
    });
  }

  function draw() {
    var rate = toggle && toggle.querySelector("input").checked;
    var font = "12px " + getComputedStyle(document.body).fontFamily;
    var axis = { stroke: colour("--soft"), font: font, grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line-strong"), width: 1 } };
    var data = [points.at_ms.map(function (ms) { return ms / 1000; }), points.values];
    var series = [
      { label: "UTC", value: function (_, at) { return at === null || at === undefined ? "—" : clock(at); } },
      { label: points.field, scale: "y", stroke: colour("--accent"), width: 1.5, paths: rate ? undefined : uPlot.paths.stepped({ align: 1 }),
        points: { size: 5, fill: colour("--sheet") }, value: function (_, at) { return thousands(at); } }
    ];
    var axes = [Object.assign({ values: ticks, space: 70 }, axis), Object.assign({ scale: "y", size: 80, values: function (_, ticks) { return ticks.map(short); } }, axis)];
    var scales = { x: { time: true }, y: {} };
    if (rate) {
      data.push(points.per_second);
      series.push({ label: "per second", scale: "rate", stroke: colour("--mod"), width: 1.5, dash: [5, 4], points: { size: 5, fill: colour("--sheet") }, value: function (_, at) { return thousands(at); } });
      axes.push(Object.assign({ scale: "rate", side: 1, size: 80, values: function (_, ticks) { return ticks.map(short); } }, axis, { grid: { show: false } }));
      scales.rate = {};
    }
    if (drawn) drawn.destroy();
    drawn = new uPlot({
      width: Math.max(place.clientWidth, 240), height: 260, series: series, axes: axes, scales: scales,
      tzDate: function (at) { return uPlot.tzDate(new Date(at * 1000), "Etc/UTC"); },
      cursor: { points: { size: 7 } }, legend: { live: true }
    }, data, place);
  }

  fetch(place.getAttribute("data-points"), { headers: { "Accept": "application/json" }, credentials: "same-origin" }).then(function (answer) {
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }).then(function (found) {
    points = found;
    place.hidden = false;
    if (toggle) {
      toggle.hidden = false;
      toggle.querySelector("input").addEventListener("change", draw);
    }
    draw();
    var waiting = 0;
    window.addEventListener("resize", function () {
      clearTimeout(waiting);
      waiting = setTimeout(function () { drawn.setSize({ width: Math.max(place.clientWidth, 240), height: 260 }); }, 100);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }).catch(function () {
    var table = place.parentNode.querySelector("details");
    if (table) table.open = true; // what could not be drawn is there in words
  });
})();
