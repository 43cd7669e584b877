// Where a turn's text comes from: all of it, a word at a time, or the keyboard.

export class Source {
  constructor(turn, text, mode, rate) {
    this.turn = turn;
    this.sent = "";
    if (mode === "whole") this.#whole(text);
    else if (mode === "words") this.#words(text.match(/\S+\s*|\s+/gu) ?? [], 1000 / rate);
    else this.typed(text);
  }

  #whole(text) {
    this.turn.send({ text, end: true });
  }

  #words(words, pause) {
    const next = () => {
      const text = words.shift() ?? "";
      this.turn.send(words.length ? { text } : { text, end: true });
      if (words.length && !this.turn.over) setTimeout(next, pause);
    };
    next();
  }

  // What has been typed since, up to the last whole word; what is spoken already cannot be taken back.
  typed(text) {
    if (!text.startsWith(this.sent)) return;
    const more = text.slice(this.sent.length).match(/^[\s\S]*\s/u)?.[0];
    if (!more) return;
    this.sent += more;
    this.turn.send(more.endsWith("\n") ? { text: more, flush: "line" } : { text: more });
  }

  finish(text) {
    const rest = text.startsWith(this.sent) ? text.slice(this.sent.length) : "";
    this.turn.send({ text: rest, end: true });
  }
}
