import { startsWith } from '../../lib/bytes.ts';
import { AmqpMap, Decoder, skipValue } from './types.ts';

/** Further routing keys, a list of strings [RabbitMQ: sender-selected distribution]. */
export const copiesAnnotation = 'x-cc';
const key = Buffer.from([0xa3, copiesAnnotation.length, ...Buffer.from(copiesAnnotation, 'latin1')]);

/**
 * The keys that a message is routed by beside its own; what is no list of strings is none.
 * @param at where the map of annotations begins
 */
export function readCopies(bytes: Buffer, at: number, end: number): string[] {
  if (!hasCopies(bytes, at, end)) return [];
  const annotations = new Decoder(bytes, at).read();
  const copies = annotations instanceof AmqpMap ? annotations.get(copiesAnnotation) : undefined;
  return Array.isArray(copies) ? copies.filter((copy) => typeof copy === 'string') : [];
}

// Most annotations are others: their keys are looked at where they lie.
function hasCopies(bytes: Buffer, at: number, end: number): boolean {
  const isShort = bytes[at] === 0xc1;
  let count = isShort ? bytes[at + 2]! : bytes.readUInt32BE(at + 5);
  for (let next = at + (isShort ? 3 : 9); count >= 2; count -= 2) {
    if (startsWith(bytes, next, key, key.length)) return true;
    next = skipValue(bytes, skipValue(bytes, next, end), end);
  }
  return false;
}
