// Fills the form of a passkey: asks the server for a challenge, the browser for the passkey, and sends the answer on.

const toBytes = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));

const toText = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function readable(options) {
  const key = { ...options.publicKey, challenge: toBytes(options.publicKey.challenge) };
  if (key.user) key.user = { ...key.user, id: toBytes(key.user.id) };
  for (const name of ["allowCredentials", "excludeCredentials"]) {
    if (key[name]) key[name] = key[name].map((one) => ({ ...one, id: toBytes(one.id) }));
  }
  return { publicKey: key };
}

function writable(credential) {
  const given = credential.response;
  const response = { clientDataJSON: toText(given.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (given[name]) response[name] = toText(given[name]);
  }
  if (given.getTransports) response.transports = given.getTransports();
  return {
    id: credential.id,
    rawId: toText(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment,
    clientExtensionResults: credential.getClientExtensionResults(),
    response,
  };
}

async function challenge(address) {
  const answer = await fetch(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  if (answer.ok) return answer.json();
  const problem = await answer.json().catch(() => ({}));
  throw new Error(problem.error?.message ?? problem.detail ?? "The server did not answer as it should. Try again.");
}

function words(error) {
  if (error.name === "NotAllowedError") return "Nothing was chosen, or it took too long. Try again when you are ready.";
  if (error.name === "InvalidStateError") return "This device has a passkey of this account already.";
  if (error.name === "SecurityError") return "This address cannot have passkeys. They need https, or http://localhost.";
  if (error instanceof TypeError) return "The server cannot be reached. Check the connection and try again.";
  return error.message;
}

async function ask(form) {
  const news = form.querySelector(".passkey-news");
  const button = form.querySelector("button");
  button.disabled = true;
  news.textContent = "Follow your browser or device…";
  try {
    const options = readable(await challenge(form.dataset.options));
    const credential = await navigator.credentials[form.dataset.passkey](options);
    form.querySelector("[name=credential]").value = JSON.stringify(writable(credential));
    news.textContent = "";
    form.submit();
  } catch (error) {
    news.textContent = words(error);
    button.disabled = false;
    button.focus();
  }
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) {
    form.parentElement.querySelector(".passkey-missing")?.removeAttribute("hidden");
    continue;
  }
  form.hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.reportValidity()) ask(form);
  });
}
