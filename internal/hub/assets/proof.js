// Checks, in the browser, that an entry is part of a journal: C2SP tlog-proof with the
// entry's bytes as extra data, RFC 9162 hashing, a C2SP checkpoint signed as a note
// with Ed25519. What is checked is the text on the page by the key on the page, and
// nothing is asked of the server.
"use strict";
(() => {
  const check = document.getElementById("check");
  if (!check || !window.crypto || !crypto.subtle) return;
  const get = (id) => document.getElementById(id);
  const form = get("check-form"), key = get("check-key"), pin = get("check-pin"), text = get("check-text");
  const good = get("check-good"), bad = get("check-bad"), steps = get("check-steps"), pinned = get("check-pinned");
  const utf8 = new TextEncoder();

  class Wrong extends Error {}

  function bytes(base64, what) {
    // One spelling only, as the command wants it: what decodes must be written so.
    let raw;
    try { raw = atob(base64); } catch { throw new Wrong(what + " is not base64."); }
    if (btoa(raw) !== base64) throw new Wrong(what + " is not spelled as base64 is.");
    return Uint8Array.from(raw, (c) => c.charCodeAt(0));
  }
  const base64 = (b) => btoa(String.fromCharCode(...b));
  const equal = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  const join = (...parts) => {
    const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const p of parts) { out.set(p, at); at += p.length; }
    return out;
  };
  const sha256 = async (b) => new Uint8Array(await crypto.subtle.digest("SHA-256", b));
  const leafHash = (entry) => sha256(join(Uint8Array.of(0), entry));
  const nodeHash = (left, right) => sha256(join(Uint8Array.of(1), left, right));

  function decimal(s, what) {
    if (!/^(0|[1-9][0-9]{0,18})$/.test(s)) throw new Wrong(what + " is not a number.");
    return BigInt(s);
  }

  // parse reads the text of a proof.
  function parse(proof) {
    const cut = proof.indexOf("\n\n");
    const lines = proof.slice(0, Math.max(cut, 0)).split("\n");
    if (cut < 0 || lines.length < 3 || lines[0] !== "c2sp.org/tlog-proof@v1") throw new Wrong("The text is not a C2SP tlog-proof.");
    if (!lines[1].startsWith("extra ") || !lines[2].startsWith("index ")) throw new Wrong("The proof has no entry or no index.");
    const entry = bytes(lines[1].slice(6), "The entry");
    const index = decimal(lines[2].slice(6), "The index");
    const hashes = lines.slice(3).map((l, i) => {
      const h = bytes(l, "Hash " + (i + 1));
      if (h.length !== 32) throw new Wrong("Hash " + (i + 1) + " does not have 32 bytes.");
      return h;
    });
    const note = proof.slice(cut + 2), split = note.lastIndexOf("\n\n");
    if (split < 0 || !note.endsWith("\n")) throw new Wrong("The checkpoint is not a signed note.");
    const signed = note.slice(0, split + 1), body = signed.split("\n");
    const root = bytes(body[2] || "", "The root");
    if (root.length !== 32) throw new Wrong("The root does not have 32 bytes.");
    const signatures = note.slice(split + 2).split("\n").filter((l) => l).map((l) => {
      const m = /^\u2014 (\S+) (\S+)$/u.exec(l);
      if (!m) throw new Wrong("A signature of the checkpoint is not written as one.");
      return { name: m[1], bytes: bytes(m[2], "A signature") };
    });
    return { entry, index, hashes, signed, origin: body[0], size: decimal(body[1] || "", "The checkpoint's size"), root, signatures };
  }

  // vkey reads a C2SP verifier key: name+hash+base64 of the algorithm and the key.
  async function vkey(s) {
    const m = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(s.trim());
    if (!m) throw new Wrong("The public key is not one line of the form NAME+HASH+KEY.");
    const raw = bytes(m[3], "The public key");
    if (raw[0] !== 1 || raw.length !== 33) throw new Wrong("The public key is not one of Ed25519.");
    const hash = (await sha256(join(utf8.encode(m[1] + "\n"), raw))).slice(0, 4);
    if ([...hash].map((b) => b.toString(16).padStart(2, "0")).join("") !== m[2]) throw new Wrong("The public key does not have the hash that it names: a character of it is wrong.");
    return { name: m[1], hash, key: raw.slice(1) };
  }

  function step(done, title, detail) {
    const li = document.createElement("li"), strong = document.createElement("strong"), code = document.createElement("code");
    strong.textContent = title;
    code.textContent = detail;
    code.className = "digest";
    li.append(strong, document.createElement("br"), code);
    if (!done) li.setAttribute("aria-current", "step");
    steps.append(li);
  }

  async function verify() {
    const v = await vkey(key.value);
    const p = parse(text.value);
    if (p.index >= p.size) throw new Wrong("The index lies behind the last entry under the checkpoint.");
    // RFC 9162, 2.1.3.2.
    let hash = await leafHash(p.entry), f = p.index, s = p.size - 1n;
    step(true, "Leaf: SHA-256 of 0x00 and the entry's " + p.entry.length + " bytes", base64(hash));
    for (const [i, h] of p.hashes.entries()) {
      const title = "Hash " + (i + 1) + " of " + p.hashes.length;
      if (s === 0n) throw new Wrong("The proof has more hashes than the way to the root has steps.");
      if (f & 1n || f === s) {
        hash = await nodeHash(h, hash);
        step(true, title + " stands to the left: SHA-256 of 0x01, it, and what was", base64(hash));
        if (!(f & 1n)) while (!(f & 1n) && f !== 0n) { f >>= 1n; s >>= 1n; }
      } else {
        hash = await nodeHash(hash, h);
        step(true, title + " stands to the right: SHA-256 of 0x01, what was, and it", base64(hash));
      }
      f >>= 1n;
      s >>= 1n;
    }
    if (s !== 0n) throw new Wrong("The proof has fewer hashes than the way to the root has steps.");
    if (!equal(hash, p.root)) {
      step(false, "The checkpoint over " + p.size + " entries has another root", base64(p.root));
      throw new Wrong("The hashes do not lead to the root of the checkpoint: the entry, its number or a hash was changed.");
    }
    step(true, "That is the root of the checkpoint over " + p.size + " entries of " + p.origin, base64(p.root));
    const mine = p.signatures.filter((x) => x.name === v.name && equal(x.bytes.slice(0, 4), v.hash));
    if (p.origin !== v.name || mine.length !== 1) {
      step(false, "The checkpoint is signed by", p.signatures.map((x) => x.name).join(", ") || "nobody");
      throw new Wrong("The checkpoint is not signed by this key, but by another one.");
    }
    let signed;
    try {
      const k = await crypto.subtle.importKey("raw", v.key, { name: "Ed25519" }, false, ["verify"]);
      signed = await crypto.subtle.verify({ name: "Ed25519" }, k, mine[0].bytes.slice(4), utf8.encode(p.signed));
    } catch (e) {
      if (e.name === "NotSupportedError") throw new Wrong("The hashes lead to the root, but this browser cannot check Ed25519 signatures: check the downloaded proof offline.");
      throw new Wrong("The signature could not be checked: " + e.name + ".");
    }
    if (!signed) {
      step(false, "Signature of " + v.name, base64(mine[0].bytes.slice(4)));
      throw new Wrong("The signature of the checkpoint is wrong: its text was changed, or the key is another one.");
    }
    step(true, "The root is signed with Ed25519 by " + v.name, base64(mine[0].bytes.slice(4)));
    // Entries are written in one way only, which begins so.
    const begins = /^\{"id":"([0-9A-Z]{26})","seq":(0|[1-9][0-9]{0,18}),/.exec(new TextDecoder().decode(p.entry));
    if (!begins) throw new Wrong("What was proven is no entry.");
    const id = begins[1];
    if (BigInt(begins[2]) !== p.index) throw new Wrong("The entry says that it has another number than the proof.");
    if (id !== check.dataset.entry) {
      step(false, "What was proven is entry", id);
      throw new Wrong("The proof is right, but it is of another entry than this page is about: " + id + ".");
    }
    step(true, "What was proven says that it is", id + ", number " + p.index);
    return "Entry " + id + " is number " + p.index + " of the first " + p.size + " entries of " + p.origin + ", exactly as it stands in the proof. Signed by the key " + v.name + "+" + [...v.hash].map((b) => b.toString(16).padStart(2, "0")).join("") + ".";
  }

  // The pinned key is this browser's own: the server neither sees it nor sets it.
  const where = "isogate journal key";
  function recall() {
    let kept = null;
    try { kept = localStorage.getItem(where); } catch { pin.disabled = true; }
    if (!kept) return;
    pin.checked = true;
    key.value = kept;
    if (kept !== key.dataset.served) {
      pinned.hidden = false;
      pinned.querySelector("p").textContent = "This Hub says that the journal's key is another one than this browser remembers. Checks use the remembered one. If nobody told you that the key was changed, ask why.";
    }
  }
  function remember() {
    try {
      if (pin.checked) localStorage.setItem(where, key.value.trim()); else localStorage.removeItem(where);
    } catch { /* a browser that keeps nothing */ }
  }

  let turn = 0;
  async function run() {
    const mine = ++turn;
    good.hidden = bad.hidden = true;
    steps.replaceChildren();
    let said, ok = true;
    try { said = await verify(); } catch (e) {
      ok = false;
      said = e instanceof Wrong ? e.message : "The proof could not be checked: " + e.message;
    }
    if (mine !== turn) return; // somebody checks anew already
    const box = ok ? good : bad;
    box.querySelector("p").textContent = (ok ? "Verified. " : "Does not verify. ") + said;
    box.hidden = false;
    if (ok && key.value.trim() === key.dataset.served && !pin.checked) box.querySelector("p").textContent += " That this key is the journal's, only this Hub has said so far.";
    if (ok) remember();
  }

  get("check-without").hidden = true;
  form.hidden = false;
  form.addEventListener("submit", (e) => { e.preventDefault(); run(); });
  pin.addEventListener("change", () => { if (!pin.checked) remember(); });
  recall();
  run();
})();
