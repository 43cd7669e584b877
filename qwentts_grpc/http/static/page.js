// The page: what is asked for, what is heard, what the server does.

import { Choices } from "./choices.js";
import { Turn } from "./live.js";
import { Player, RATE } from "./player.js";
import { Reference } from "./reference.js";
import { catalog, state } from "./server.js";
import { Source } from "./source.js";
import { wav } from "./wav.js";
import { Wave } from "./wave.js";

const STATUS_EVERY = 3000; // milliseconds
const ENDS = { FINISH_REASON_CANCELLED: "Stopped.", FINISH_REASON_LENGTH: "Cut at the longest audio.", FINISH_REASON_GUARD: "Ended by the guard against runaway speech." };

const page = Object.fromEntries([...document.querySelectorAll("[id]")].map((element) => [element.id, element]));
const wave = new Wave(page.wave);
const player = new Player(heard);
const reference = new Reference(page, (name) => refresh().then(() => { page.voice.value = name; }));
const choices = new Choices(page, (model) => reference.show(model));
const mode = () => page.speech.elements.mode.value;
const seconds = (text) => Number.parseFloat(text ?? "0"); // "1.5s", as JSON has durations

let turn, source, chunks = [], begun = 0, last = "", starved = false;

function say(text, bad = false) {
  page.said.textContent = text;
  page.said.classList.toggle("bad", bad);
}

function busy(on) {
  if (on) page.stop.disabled = false; // until all has been heard
  page.speak.textContent = on && mode() === "typed" ? "Finish" : "Speak";
  document.body.dataset.state = on ? "speaking" : "idle";
}

async function speak() {
  if (turn && !turn.over && mode() === "typed") return source.finish(page.text.value);
  stop();
  try {
    const fields = { ...choices.fields(), token: page.token.value, ...(reference.used ? reference.fields() : {}) };
    reset();
    await player.open();
    await begin(fields);
  } catch (error) {
    failed({ message: error.message });
  }
}

function reset() {
  chunks = [];
  wave.clear();
  for (const figure of ["first", "factor", "length", "queue", "gaps"]) page[figure].textContent = "–";
  page.note.textContent = "";
  page.download.hidden = true;
  busy(true);
  say("Waiting for the first audio.");
}

async function begin(fields) {
  begun = performance.now();
  if (turn && !turn.over) turn.stop(); // of a second click
  const own = new Turn({
    started: ({ queue_wait }) => { page.queue.textContent = `${Math.round(1000 * seconds(queue_wait))} ms`; },
    audio: (pcm) => own === turn && sound(pcm),
    notice: (notice) => own === turn && note(notice),
    summary: (summary) => own === turn && ended(summary),
    error: (error) => own === turn && failed(error),
  });
  turn = own;
  await own.begin(fields, reference.used ? await reference.blob.arrayBuffer() : undefined);
  source = new Source(own, page.text.value, mode(), page.rate.valueAsNumber);
}

function note({ code, message }) {
  if (code === "NOTICE_CODE_PACED") return; // the audio is far ahead: nothing to tell
  starved = code === "NOTICE_CODE_TEXT_STARVED";
  page.note.textContent = message;
}

function sound(pcm) {
  if (starved) page.note.textContent = "";
  starved = false;
  if (!chunks.length) {
    page.first.textContent = `${Math.round(performance.now() - begun)} ms`;
    say("Speaking.");
  }
  chunks.push(pcm);
  player.put(pcm);
  wave.put(pcm);
  page.length.textContent = `${length().toFixed(1)} s`;
}

const length = () => chunks.reduce((sum, chunk) => sum + chunk.length, 0) / RATE;

function heard({ played, gaps, over }) {
  wave.heard = played;
  wave.draw();
  page.gaps.textContent = gaps;
  if (over && turn?.over) {
    page.stop.disabled = true;
    say(last, page.said.classList.contains("bad"));
  }
}

function ended({ finish_reason, work_time, audio_duration }) {
  player.end();
  busy(false);
  if (seconds(audio_duration)) page.factor.textContent = (seconds(work_time) / seconds(audio_duration)).toFixed(2);
  last = ENDS[finish_reason] ?? "Done.";
  if (!chunks.length || finish_reason !== "FINISH_REASON_STOP") say(last);
  offer();
}

function offer() {
  if (!chunks.length) return;
  if (page.download.href) URL.revokeObjectURL(page.download.href);
  page.download.href = URL.createObjectURL(wav(chunks, RATE));
  page.download.download = "speech.wav";
  page.download.hidden = false;
}

function failed({ message }) {
  player.end();
  busy(false);
  page.stop.disabled = !chunks.length;
  last = message;
  say(message, true);
  offer();
}

function stop() {
  if (page.stop.disabled) return;
  page.stop.disabled = true;
  player.clear();
  last = "Stopped.";
  say(last);
  if (!turn.over) turn.stop();
}

async function refresh() {
  try {
    choices.update(await catalog(page.token.value));
  } catch (error) {
    say(error.message, true);
  }
}

async function watch() {
  if (document.hidden) return;
  try {
    const now = await state(page.token.value);
    if (!choices.models.length) await refresh();
    reference.limit(now);
    const good = now.health === "SERVING";
    page.server.firstElementChild.className = `dot ${good ? "good" : "bad"}`;
    page["server-text"].textContent = `${now.health.toLowerCase().replace("_", " ")}: ${now.speaking} of ${now.max_speaking} speaking, ${now.waiting} waiting`;
    page.server.title = `speeches from this address; server ${now.version}`;
  } catch (error) {
    page.server.firstElementChild.className = "dot bad";
    page["server-text"].textContent = error instanceof TypeError ? "no connection" : error.message;
  }
}

function modes() {
  page.rate.parentElement.hidden = mode() !== "words";
  page["rate-text"].textContent = `${page.rate.value} words/s`;
}

page.speech.addEventListener("submit", (event) => { event.preventDefault(); speak(); });
page.speech.addEventListener("change", modes);
page.rate.addEventListener("input", modes);
page.stop.addEventListener("click", stop);
page.text.addEventListener("input", () => { if (turn && !turn.over && mode() === "typed") source?.typed(page.text.value); });
page.access.addEventListener("submit", (event) => event.preventDefault());
page.token.addEventListener("change", () => refresh().then(watch));
document.addEventListener("visibilitychange", watch);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); page.speech.requestSubmit(); }
});
modes();
watch();
setInterval(watch, STATUS_EVERY);
