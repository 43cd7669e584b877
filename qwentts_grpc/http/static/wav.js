// A WAV file of PCM chunks.

export function wav(chunks, rate) {
  const size = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const word = (at, text) => [...text].forEach((letter, i) => head.setUint8(at + i, letter.charCodeAt(0)));
  word(0, "RIFF"), word(8, "WAVEfmt "), word(36, "data");
  head.setUint32(4, 36 + size, true), head.setUint32(40, size, true);
  head.setUint32(16, 16, true), head.setUint16(20, 1, true), head.setUint16(22, 1, true);
  head.setUint32(24, rate, true), head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true), head.setUint16(34, 16, true);
  return new Blob([head, ...chunks], { type: "audio/wav" });
}
