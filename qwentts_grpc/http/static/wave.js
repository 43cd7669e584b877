// The waveform: a peak each 20 ms, what has been heard in colour.

import { RATE } from "./player.js";

const STEP = RATE / 50;

export class Wave {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  clear() {
    this.peaks = [];
    this.heard = 0; // samples
    this.rest = 0;
    this.peak = 0;
    this.draw();
  }

  put(pcm) {
    for (const sample of pcm) {
      this.peak = Math.max(this.peak, Math.abs(sample));
      if (++this.rest === STEP) {
        this.peaks.push(this.peak / 32768);
        this.rest = this.peak = 0;
      }
    }
    this.draw();
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => { this.frame = undefined; this.#paint(); });
  }

  #paint() {
    const { canvas } = this;
    const scale = devicePixelRatio, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const brush = canvas.getContext("2d"), style = getComputedStyle(canvas);
    brush.scale(scale, scale);
    const bars = Math.max(1, Math.floor(width / 3)), each = Math.max(1, this.peaks.length / bars);
    for (let bar = 0; bar < bars; bar++) {
      const from = Math.floor(bar * each), part = this.peaks.slice(from, Math.max(from + 1, Math.floor((bar + 1) * each)));
      const tall = Math.max(1, Math.min(1, 1.4 * Math.max(0, ...part)) * height);
      const heard = part.length > 0 && from * STEP < this.heard;
      brush.fillStyle = style.getPropertyValue(heard ? "--accent" : part.length ? "--wave" : "--line");
      brush.fillRect(3 * bar, (height - tall) / 2, 2, tall);
    }
  }
}
