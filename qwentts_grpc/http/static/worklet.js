// Plays PCM from a jitter buffer: it starts once `ahead` samples wait, and with twice as many after it has run dry.

class Playback extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this.least = options.processorOptions.ahead;
    this.clear();
    this.port.onmessage = ({ data }) => this.take(data);
  }

  clear() {
    this.ahead = this.least;
    this.chunks = [];
    this.offset = 0; // into the first chunk
    this.waiting = 0; // samples
    this.playing = false;
    this.ended = false;
    this.played = 0;
    this.gaps = 0;
  }

  take(data) {
    if (data === "clear") {
      this.clear();
    } else if (data === "end") {
      this.ended = true;
    } else {
      this.chunks.push(data);
      this.waiting += data.length;
    }
  }

  process(_, [[output]]) {
    if (!this.playing && this.waiting && (this.ended || this.waiting >= this.ahead)) {
      this.playing = true;
    }
    const count = this.playing ? this.fill(output) : 0;
    if (this.playing && count < output.length) this.dry();
    this.played += count;
    const over = this.ended && !this.waiting;
    if (count || over) this.port.postMessage({ played: this.played, gaps: this.gaps, over });
    if (over) this.ended = false; // told once
    return true;
  }

  dry() {
    this.playing = false;
    if (this.ended) return;
    this.gaps++;
    this.ahead = Math.min(2 * this.ahead, 8 * this.least);
  }

  fill(output) {
    let count = 0;
    while (count < output.length && this.chunks.length) {
      const chunk = this.chunks[0];
      const part = chunk.subarray(this.offset, this.offset + output.length - count);
      output.set(part, count);
      count += part.length;
      this.offset += part.length;
      if (this.offset === chunk.length) {
        this.chunks.shift();
        this.offset = 0;
      }
    }
    this.waiting -= count;
    return count;
  }
}

registerProcessor("playback", Playback);
