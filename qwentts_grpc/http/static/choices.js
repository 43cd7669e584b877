// Model, voice and language, as the server has them.

const NOTES = { voice_design: "describe the voice", base: "this model takes none" };

function fill(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  if (entries.some(([value]) => value === chosen)) select.value = chosen;
}

export class Choices {
  constructor(page, onmodel) {
    this.page = page;
    this.onmodel = onmodel;
    this.models = [];
    this.voices = [];
    page.model.addEventListener("change", () => this.show());
  }

  get model() {
    return this.models.find(({ id }) => id === this.page.model.value);
  }

  update({ models, voices }) {
    this.models = models;
    this.voices = voices;
    fill(this.page.model, models.map(({ id, kind }) => [id, `${id} (${kind.replace("_", " ")})`]), this.page.model.value);
    this.show();
  }

  show() {
    const { model, page } = this;
    if (!model) return;
    const designed = model.kind === "voice_design";
    const voices = this.voices.filter((voice) => voice.model === model.id).map(({ name, kind }) => [name, kind === "cloned" ? `${name} (created)` : name]);
    fill(page.voice, designed ? [["", "as described below"]] : model.kind === "base" ? [["", "the recording below"], ...voices] : voices, page.voice.value);
    fill(page.language, [["", "detect"], ...model.languages.filter((name) => name !== "auto").map((name) => [name, name])], page.language.value);
    page.instructions.disabled = !model.instructions && !designed;
    page["instructions-note"].textContent = designed || !model.instructions ? NOTES[model.kind] ?? "this model takes none" : "how to speak";
    this.onmodel(model);
  }

  fields() {
    const { page } = this;
    const instructions = page.instructions.disabled ? "" : page.instructions.value;
    return { model: page.model.value, voice: page.voice.value, language: page.language.value, instructions };
  }
}
