// The live tail: rows that come are put in front of those that are there. All that
// entries say is set as text; nothing of it ever becomes markup.
"use strict";
(() => {
  const tail = document.getElementById("tail");
  if (!tail || !window.EventSource) return;
  const rows = document.getElementById("tail-rows");
  const none = document.getElementById("tail-none");
  const state = document.getElementById("tail-state");
  const told = document.getElementById("tail-told");
  const pause = document.getElementById("tail-pause");
  const most = Number(tail.dataset.most);
  let source = null, paused = false, over = false, held = [], heldSkipped = 0, came = 0, last = 0;

  const copy = (id) => document.getElementById(id).content.cloneNode(true);
  const number = (n) => n.toLocaleString("en-GB");

  function row(r) {
    const tr = copy("tail-row").querySelector("tr");
    const [head, what, why, decision, values, left] = tr.children;
    const link = head.querySelector("a"), time = head.querySelector("time");
    if (r.bad) {
      head.textContent = "number " + r.seq;
    } else {
      link.href = "/entries/" + encodeURIComponent(r.id);
      time.dateTime = r.time;
      time.textContent = r.text;
    }
    what.firstElementChild.textContent = r.what;
    why.querySelector("bdi").textContent = r.why;
    why.querySelector("span").textContent = r.purpose;
    const [badge, ended, reason] = decision.children;
    const known = r.decision && document.getElementById("tail-decision-" + r.decision);
    if (known) {
      badge.replaceWith(known.content.cloneNode(true));
    } else {
      const kind = copy("tail-kind");
      kind.firstElementChild.textContent = r.decision || r.kind;
      badge.replaceWith(kind);
    }
    ended.textContent = r.state;
    if (r.reason) reason.firstElementChild.textContent = r.reason; else reason.remove();
    const [list, labels] = values.children;
    for (const a of r.actions || []) {
      const template = document.getElementById("tail-action-" + a.action);
      if (!template) continue;
      const item = template.content.cloneNode(true);
      item.querySelector("span.small").textContent = " " + number(a.n);
      list.append(item);
    }
    if (!list.children.length) list.remove();
    labels.textContent = (r.labels || []).join(", ") + (r.more ? " and " + r.more + " more" : "");
    if (!labels.textContent) labels.remove();
    left.textContent = r.bytes ? r.size : "";
    return tr;
  }

  function skip(n) {
    const tr = document.createElement("tr"), td = document.createElement("td");
    td.colSpan = 6;
    td.textContent = number(n) + " older entries came so fast that they are not shown here; What left has all of them.";
    tr.append(td);
    return tr;
  }

  function add(list, skipped) {
    if (skipped) rows.prepend(skip(skipped));
    for (const r of list) rows.prepend(row(r));
    while (rows.children.length > most) rows.lastElementChild.remove();
    none.hidden = rows.children.length > 0;
  }

  function take(event) {
    const news = JSON.parse(event.data), list = news.rows || [];
    came += list.length + (news.skipped || 0);
    if (paused) {
      held = held.concat(list);
      heldSkipped += (news.skipped || 0) + Math.max(0, held.length - most);
      held = held.slice(-most);
    } else {
      add(list, news.skipped);
    }
    said();
  }

  function said() {
    if (over) return;
    state.textContent = (paused ? "Paused, " + number(held.length + heldSkipped) + " wait; " : "Follows; ") + number(came) + " came since you opened this";
    // Told to who listens at most every ten seconds, and never row by row.
    if (came && Date.now() - last > 10000) {
      last = Date.now();
      told.textContent = number(came) + " entries came";
    }
  }

  function end(why) {
    over = true;
    source.close();
    state.textContent = why;
    told.textContent = why;
    pause.hidden = true;
  }

  source = new EventSource(tail.dataset.events);
  source.addEventListener("open", said);
  source.addEventListener("message", take);
  source.addEventListener("ended", () => end("Ended: your session is over, or you may not see this any more. Sign in again to go on."));
  source.addEventListener("error", () => {
    if (over) return;
    if (source.readyState === EventSource.CLOSED) end("This tail could not be opened: there are too many, or your session is over. Load the page again.");
    else state.textContent = "The connection was lost; trying again …";
  });
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) {
      add(held, heldSkipped);
      held = [];
      heldSkipped = 0;
    }
    said();
  });
})();
