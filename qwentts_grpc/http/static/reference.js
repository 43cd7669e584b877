// The recording of a voice: a file or the microphone, its words, the consent to its use.

import { Recorder } from "./recorder.js";
import { keepVoice } from "./server.js";

export class Reference {
  constructor(page, onkept) {
    this.page = page;
    this.recorder = new Recorder();
    this.limits = {};
    page.file.addEventListener("change", () => this.#set(page.file.files[0]));
    page.record.addEventListener("click", () => this.#record());
    page.forget.addEventListener("click", () => this.#set(undefined));
    page.save.addEventListener("click", () => this.#keep(onkept));
  }

  // Shown as usable for a model that clones voices.
  show(model) {
    const usable = model.kind === "base";
    this.page["reference-fields"].disabled = !usable;
    this.page["reference-note"].textContent = usable ? "" : "needs a Base model";
  }

  limit(status) {
    this.limits = status;
    this.page["consent-note"].textContent = status.consent_required ? "required by this server" : "optional";
    this.page.keep.hidden = !status.voice_creation;
  }

  get used() {
    return Boolean(this.blob) && !this.page["reference-fields"].disabled && !this.page.voice.value;
  }

  // Throws where something is missing.
  fields() {
    const { page } = this;
    if (!page.consent.checked) throw new Error("say that the speaker has consented, or remove the recording");
    const said = page["consent-reference"].value.trim();
    if (this.limits.consent_required && !said) throw new Error("name where the consent is on record");
    return { ref_text: page.transcript.value.trim(), consent: said || `said on the page at ${new Date().toISOString()}` };
  }

  #set(blob) {
    const { page } = this;
    const large = blob && blob.size > (this.limits.max_recording_bytes ?? Infinity);
    this.blob = large ? undefined : blob;
    if (!this.blob) page.file.value = "";
    page.forget.disabled = !this.blob;
    page.preview.hidden = !this.blob;
    if (page.preview.src) URL.revokeObjectURL(page.preview.src);
    if (this.blob) page.preview.src = URL.createObjectURL(this.blob);
    else page.preview.removeAttribute("src");
    page.recording.textContent = large ? "that file is too large" : this.blob ? `${Math.ceil(this.blob.size / 1024)} KiB ready` : "no recording: 3 to 15 seconds are enough";
  }

  async #record() {
    const { page, recorder } = this;
    if (recorder.running) return recorder.stop();
    try {
      const file = await recorder.start();
      this.#set(file);
    } catch {
      page.recording.textContent = navigator.mediaDevices ? "the microphone cannot be used" : "the microphone needs HTTPS or localhost";
    }
  }

  async #keep(onkept) {
    const { page } = this;
    try {
      if (!this.blob) throw new Error("there is no recording");
      const { ref_text: transcript, consent } = this.fields();
      const made = await keepVoice(page.token.value, { name: page.name.value.trim(), audio_sample: this.blob, transcript, consent });
      page.recording.textContent = [`kept as ${made.name}`, ...made.notices].join("; ");
      onkept(made.name);
    } catch (error) {
      page.recording.textContent = error.message;
    }
  }
}
