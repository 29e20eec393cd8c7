/**
 * Looks for one text among octets by Horspool's method: what cannot end the text moves the search on by its length, so
 * that most octets are never looked at. Saves the view and the call of `Buffer.indexOf`: 0.2 µs for 150 octets of properties.
 */
export class OctetSearch {
  private readonly octets: Buffer;
  /** By the octet at the end of the place looked at: how much further the next possible place is. */
  private readonly shifts: Uint8Array;

  /** @param text of 1 to 255 octets */
  constructor(text: string) {
    this.octets = Buffer.from(text, 'utf8');
    const last = this.octets.length - 1;
    this.shifts = new Uint8Array(256).fill(last + 1);
    for (let i = 0; i < last; i++) this.shifts[this.octets[i]!] = last - i;
  }

  /** True if the text is in `bytes[start, end)`. */
  isIn(bytes: Buffer, start: number, end: number): boolean {
    const { octets, shifts } = this;
    const last = octets.length - 1;
    for (let at = start + last; at < end; at += shifts[bytes[at]!]!) {
      let i = last;
      while (i >= 0 && bytes[at - last + i] === octets[i]) i -= 1;
      if (i < 0) return true;
    }
    return false;
  }
}
