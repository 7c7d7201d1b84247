/* What HTML and HTMX do not do by themselves. Every page works without this file. */
(function () {
  "use strict";

  /* A request that a timer started is dropped while nobody can see it, while text is selected, or while somebody types:
     the answer would replace what is being typed. */
  document.addEventListener("htmx:beforeRequest", function (event) {
    var timed = event.detail.elt.hasAttribute("data-poll") && event.detail.elt === event.detail.target;
    if (!timed) return;
    var selection = window.getSelection();
    var types = document.activeElement && document.activeElement.matches("input, select, textarea");
    if (document.hidden || types || (selection && !selection.isCollapsed)) event.preventDefault();
  });

  /* And it is no sign that anybody is there. Links inside such a region would inherit an attribute that said so. */
  document.addEventListener("htmx:configRequest", function (event) {
    if (event.detail.elt.hasAttribute("data-poll")) event.detail.headers["X-Bpf-Atlas-Passive"] = "1";
  });

  /* Say what went wrong where a screen reader hears it; the server's sentence comes as a fragment. */
  document.addEventListener("htmx:sendError", function () {
    var flash = document.getElementById("flash");
    if (flash) flash.textContent = "The dashboard does not answer. It is tried again with the next refresh.";
  });

  /* One-key shortcuts only move the focus or follow a link that is on the page; none of them writes. */
  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    var target = event.target;
    if (target.closest("input, textarea, select, [contenteditable]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (document.documentElement.hasAttribute("data-no-shortcuts") || document.querySelector("dialog[open]")) return;
    if (event.key === "?") { open("keys"); event.preventDefault(); return; }
    var wanted = document.querySelector('[data-key="' + CSS.escape(event.key) + '"]');
    if (!wanted) return;
    event.preventDefault();
    if (wanted.matches("input")) { wanted.focus(); wanted.select(); } else { wanted.click(); }
  });

  /* The list of shortcuts, and the switch for people whose speech or stray keys would set them off. */
  function open(id) {
    var dialog = document.getElementById(id);
    if (dialog && dialog.showModal && !dialog.open) dialog.showModal();
  }
  function shortcuts(on) {
    document.documentElement.toggleAttribute("data-no-shortcuts", !on);
    var button = document.querySelector("[data-shortcuts]");
    if (button) button.textContent = "Switch one-key shortcuts " + (on ? "off" : "on");
  }
  var kept = "on";
  try { kept = localStorage.getItem("shortcuts") || "on"; } catch (refused) { /* storage is switched off: they stay on */ }
  shortcuts(kept === "on");
  document.addEventListener("click", function (event) {
    var opener = event.target.closest("[data-open]");
    if (opener) open(opener.getAttribute("data-open"));
    if (!event.target.closest("[data-shortcuts]")) return;
    var on = document.documentElement.hasAttribute("data-no-shortcuts");
    shortcuts(on);
    try { localStorage.setItem("shortcuts", on ? "on" : "off"); } catch (refused) { /* holds until this page is left */ }
  });
  document.querySelectorAll("[data-open]").forEach(function (button) { button.hidden = false; });

  /* Forms of edits open in a dialog. Where the focus goes after each step stands in the form: what went wrong, or the preview. */
  document.addEventListener("htmx:afterSwap", function (event) {
    var sheet = document.getElementById("sheet");
    if (sheet && event.detail.target === sheet && sheet.showModal && !sheet.open && sheet.firstElementChild) sheet.showModal();
    if (sheet && sheet.open && event.detail.target.id === "flash") sheet.close(); // the sentence stands behind it
  });
  document.addEventListener("htmx:afterSettle", function (event) {
    var form = event.detail.elt.closest && event.detail.elt.closest(".edit-sheet, #sheet");
    if (!form) return;
    var focus = form.querySelector("[data-focus]") || form.querySelector("#sheet-title");
    if (focus) focus.focus();
  });
  document.addEventListener("click", function (event) {
    var close = event.target.closest("dialog[open] [data-close]");
    if (!close) return;
    event.preventDefault();
    close.closest("dialog").close();
  });

  /* Warn a minute before the session ends for want of use, in any of its windows; what is typed stays where it is. */
  var idle = document.getElementById("idle");
  var usedAt = 0;
  function used() {
    usedAt = Date.now();
    try { localStorage.setItem("used-at", String(usedAt)); } catch (refused) { /* then each window knows of itself alone */ }
  }
  if (idle) {
    used();
    document.addEventListener("htmx:afterRequest", function (event) {
      if (event.detail.successful && !event.detail.elt.hasAttribute("data-poll")) used();
    });
    idle.addEventListener("close", function () {
      if (!idle.hasAttribute("data-is-over")) htmx.ajax("GET", "/settings/stay", { source: idle, swap: "none" });
    });
    setInterval(function () {
      var lastly = usedAt;
      try { lastly = Math.max(lastly, Number(localStorage.getItem("used-at")) || 0); } catch (refused) { /* as above */ }
      var left = lastly + 1000 * Number(idle.getAttribute("data-idle-s")) - Date.now();
      if (left > 60000) { if (idle.open) idle.close(); return; }
      if (idle.hasAttribute("data-is-over")) return;
      if (left < 0) {
        idle.setAttribute("data-is-over", "");
        document.getElementById("idle-says").textContent = idle.getAttribute("data-over");
        idle.querySelector("button").textContent = "Close";
      }
      if (!idle.open && idle.showModal) idle.showModal();
    }, 1000);
  }

  /* Tell a screen reader what a filter or a refresh left in the list, but not every few seconds. */
  var saidAt = 0;
  document.addEventListener("htmx:afterSettle", function () {
    var list = document.querySelector("[data-says]");
    var status = document.getElementById("status");
    if (!list || !status || status.textContent === list.getAttribute("data-says") || Date.now() - saidAt < 5000) return;
    saidAt = Date.now();
    status.textContent = list.getAttribute("data-says");
  });

  /* The moment that a slider stands at, in words, while it is moved. */
  document.addEventListener("input", function (event) {
    if (!event.target.matches("[data-moment]")) return;
    var says = event.target.parentNode.querySelector("output");
    var at = new Date(1000 * Number(event.target.value)).toISOString();
    if (says) { says.hidden = false; says.textContent = at.slice(0, 10) + " " + at.slice(11, 19) + " UTC"; }
  });

  /* "Copy" buttons, shown only where a script can serve them. */
  document.addEventListener("click", function (event) {
    var button = event.target.closest("[data-copy]");
    if (!button || !navigator.clipboard) return;
    var source = document.getElementById(button.getAttribute("data-copy"));
    if (!source) return;
    navigator.clipboard.writeText(source.textContent).then(function () {
      document.getElementById("status").textContent = "Copied.";
    });
  });
  document.querySelectorAll("[data-copy]").forEach(function (button) { button.hidden = false; });
})();
