// One turn over the WebSocket /live.

export class Turn {
  constructor(handlers) {
    this.handlers = handlers; // of started, audio, notice, summary, error
    this.over = false;
    this.stopped = false;
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = ({ data }) => this.#take(data);
    this.socket.onclose = () => this.#finish("error", { message: "the connection broke" });
    this.opened = new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error("the server cannot be reached"));
    });
  }

  async begin(fields, recording) {
    await this.opened;
    this.send({ ...fields, reference: Boolean(recording) });
    if (recording) this.socket.send(recording);
  }

  send(message) {
    if (!this.over && this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  // At once, whether or not the server still answers.
  stop() {
    this.stopped = true;
    this.send({ cancel: true });
    const summary = { finish_reason: "FINISH_REASON_CANCELLED" };
    setTimeout(() => { this.#finish("summary", summary); this.socket.close(); }, 1500);
  }

  #take(data) {
    if (data instanceof ArrayBuffer) return this.stopped || this.handlers.audio(new Int16Array(data));
    const [[name, value]] = Object.entries(JSON.parse(data));
    if (name === "summary" || name === "error") this.#finish(name, value);
    else this.handlers[name]?.(value);
  }

  #finish(name, value) {
    if (this.over) return;
    this.over = true;
    this.handlers[name](value);
  }
}
