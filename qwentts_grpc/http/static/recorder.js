// The microphone: one recording, as a file of the browser's own kind.

const LONGEST = 30; // seconds

export class Recorder {
  get running() {
    return this.media?.state === "recording";
  }

  async start() {
    const sound = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: sound });
    const pieces = [];
    this.media = new MediaRecorder(stream);
    this.media.ondataavailable = ({ data }) => pieces.push(data);
    this.file = new Promise((resolve) => {
      this.media.onstop = () => {
        stream.getTracks().forEach((track) => track.stop());
        resolve(new Blob(pieces, { type: this.media.mimeType }));
      };
    });
    this.media.start();
    this.timer = setTimeout(() => this.media.stop(), 1000 * LONGEST);
    return this.file;
  }

  stop() {
    clearTimeout(this.timer);
    if (this.running) this.media.stop();
  }
}
