// Passkeys: the one thing at the Hub that needs a script, as browsers let nothing else
// ask a device for a key. What is sent and shown is text, never markup.
"use strict";
(() => {
  const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const said = document.getElementById("passkey-said");
  const say = (words) => { said.textContent = words; };

  // post sends JSON, and follows where the Hub would rather have the person go.
  async function post(path, body) {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "same-origin" });
    if (answer.redirected) {
      location.assign(answer.url);
      return new Promise(() => {});
    }
    const got = await answer.json();
    if (!answer.ok) throw new Error(got.detail || got.title);
    return got;
  }

  async function signIn(button) {
    const { publicKey } = await post("/signin/passkey/options", {});
    publicKey.challenge = bytes(publicKey.challenge);
    say("Your browser asks you for a passkey.");
    const c = await navigator.credentials.get({ publicKey });
    const credential = {
      id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(), authenticatorAttachment: c.authenticatorAttachment || undefined,
      response: { authenticatorData: text(c.response.authenticatorData), clientDataJSON: text(c.response.clientDataJSON), signature: text(c.response.signature), userHandle: c.response.userHandle ? text(c.response.userHandle) : undefined },
    };
    return post("/signin/passkey", { to: button.dataset.to, again: button.dataset.again === "yes", credential });
  }

  async function add(form) {
    const { publicKey } = await post("/account/passkeys/options", {});
    publicKey.challenge = bytes(publicKey.challenge);
    publicKey.user.id = bytes(publicKey.user.id);
    for (const known of publicKey.excludeCredentials || []) known.id = bytes(known.id);
    say("Your browser asks you where to keep the passkey.");
    const c = await navigator.credentials.create({ publicKey });
    const credential = {
      id: c.id, rawId: text(c.rawId), type: c.type, clientExtensionResults: c.getClientExtensionResults(), authenticatorAttachment: c.authenticatorAttachment || undefined,
      response: { attestationObject: text(c.response.attestationObject), clientDataJSON: text(c.response.clientDataJSON), transports: c.response.getTransports ? c.response.getTransports() : [] },
    };
    return post("/account/passkeys", { name: form.elements.name.value, credential });
  }

  // run does one of them, says what became of it, and leaves the button usable.
  async function run(button, what) {
    button.disabled = true;
    try {
      location.assign((await what()).to);
    } catch (e) {
      say(e.name === "NotAllowedError" ? "Nothing was done: no passkey was chosen in time, or your browser has none for this Hub." : "Nothing was done: " + e.message);
      button.disabled = false;
    }
  }

  if (!said) return;
  if (!window.PublicKeyCredential) {
    say("This browser has no passkeys.");
    return;
  }
  say("");
  for (const button of document.querySelectorAll("button[data-passkey=sign-in]")) {
    button.disabled = false;
    button.addEventListener("click", () => run(button, () => signIn(button)));
  }
  for (const form of document.querySelectorAll("form[data-passkey=add]")) {
    const button = form.querySelector("button");
    button.disabled = false;
    form.addEventListener("submit", (e) => {
      e.preventDefault();
      run(button, () => add(form));
    });
  }
})();
