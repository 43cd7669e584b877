// The loudspeaker: PCM of 16 bits goes in as it comes.

export const RATE = 24000;
const AHEAD = 0.12; // seconds that wait before sound begins, against jitter

export class Player {
  constructor(onprogress) {
    this.onprogress = onprogress;
  }

  // Must be called in answer to a click or a key: browsers allow sound no sooner.
  async open() {
    this.context ??= new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this.ready ??= this.#connect();
    await Promise.all([this.ready, this.context.resume()]);
    this.node.port.postMessage("clear");
  }

  async #connect() {
    await this.context.audioWorklet.addModule("/page/worklet.js");
    const ahead = Math.round(AHEAD * RATE);
    this.node = new AudioWorkletNode(this.context, "playback", { outputChannelCount: [1], processorOptions: { ahead } });
    this.node.port.onmessage = ({ data }) => this.onprogress(data);
    this.node.connect(this.context.destination);
  }

  put(pcm) {
    this.node.port.postMessage(Float32Array.from(pcm, (sample) => sample / 32768));
  }

  end() {
    this.node?.port.postMessage("end");
  }

  clear() {
    this.node?.port.postMessage("clear");
  }
}
