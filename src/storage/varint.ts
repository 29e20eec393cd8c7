/** Numbers of seven bits an octet, the lowest first. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) bytes += 1;
  return bytes;
}

export function writeVarint(out: Buffer, at: number, value: number): number {
  let rest = value;
  while (rest >= 128) {
    out[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  out[at++] = rest;
  return at;
}

export function readVarint(bytes: Buffer, at: number): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    const octet = bytes.readUInt8(at++);
    value += (octet & 127) * scale;
    if (octet < 128) return value;
    scale *= 128;
  }
}
