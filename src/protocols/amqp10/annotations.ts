import { startsWith } from '../../lib/bytes.ts';
import { skipValue } from './types.ts';

/** @param name at most 255 octets of ASCII @returns as the key of an annotation is written */
export function annotationKey(name: string): Buffer {
  return Buffer.from([0xa3, name.length, ...Buffer.from(name, 'latin1')]);
}

/**
 * Most annotations are others: their keys are looked at where they lie.
 * @param at where the map of annotations begins
 * @returns where the value lies; −1 when there is none
 */
export function findAnnotation(bytes: Buffer, at: number, end: number, key: Buffer): number {
  const isShort = bytes[at] === 0xc1;
  let count = isShort ? bytes[at + 2]! : bytes.readUInt32BE(at + 5);
  for (let next = at + (isShort ? 3 : 9); count >= 2; count -= 2) {
    const value = skipValue(bytes, next, end);
    if (startsWith(bytes, next, key, key.length)) return value;
    next = skipValue(bytes, value, end);
  }
  return -1;
}
