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
    if (document.documentElement.hasAttribute("data-no-shortcuts")) return;
    var wanted = document.querySelector('[data-key="' + CSS.escape(event.key) + '"]');
    if (!wanted) return;
    event.preventDefault();
    if (wanted.matches("input")) { wanted.focus(); wanted.select(); } else { wanted.click(); }
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
