import { encodeText } from '../lib/bytes.ts';
import type { Value } from './properties.ts';

/**
 * One header, or one field, of a message whose other properties nobody asks for: formats find it among the octets by
 * its place. What depends on more than its place, such as a companion header that gives its type, is undecided, and
 * told by the properties.
 */
export interface Lookup {
  findHeader(native: Buffer, name: HeaderName): Found;
  findField(native: Buffer, field: LookupField): Found;
}

export const undecided = Symbol('undecided');

/** Undefined: it is absent. */
export type Found = Value | undefined | typeof undecided;

export type LookupField = 'messageId' | 'groupId' | 'groupSequence';

/** The name of a header, ready to be compared with octets. */
export class HeaderName {
  readonly text: string;
  /** True for companions of the broker's own making, whose meaning is not in their place. */
  readonly isOwn: boolean;
  private readonly octets: Buffer;

  constructor(text: string) {
    this.text = text;
    this.isOwn = text.startsWith('x-rosetta-');
    this.octets = encodeText(text);
  }

  isAt(bytes: Buffer, start: number, end: number): boolean {
    const { octets } = this;
    if (end - start !== octets.length) return false;
    for (let i = 0; i < octets.length; i++) if (octets[i] !== bytes[start + i]) return false;
    return true;
  }
}

/** True if the name may be a companion's, or be escaped: all of those begin with `x-rosetta-`. */
export function mayBeOwn(bytes: Buffer, start: number, end: number): boolean {
  return end - start > 4 && bytes[start + 2] === 0x72 && bytes[start + 3] === 0x6f && bytes[start] === 0x78;
}
