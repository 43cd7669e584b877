// What the server has: models, voices, its state.

async function get(path, token) {
  const answer = await fetch(path, { headers: token ? { authorization: `Bearer ${token}` } : {} });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error?.message ?? answer.statusText);
  return body;
}

export const state = (token) => get("/status", token);

export async function catalog(token) {
  const [models, voices] = await Promise.all([get("/v1/models", token), get("/v1/audio/voices", token)]);
  return { models: models.data, voices: voices.data };
}

export async function keepVoice(token, fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch("/v1/audio/voices", { method: "POST", body: form, headers });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error?.message ?? answer.statusText);
  return body;
}
