import { annotationKey, findAnnotation } from './annotations.ts';
import { AmqpMap, Decoder } from './types.ts';

/** Further routing keys, a list of strings [RabbitMQ: sender-selected distribution]. */
export const copiesAnnotation = 'x-cc';
const key = annotationKey(copiesAnnotation);

/**
 * The keys that a message is routed by beside its own; what is no list of strings is none.
 * @param at where the map of annotations begins
 */
export function readCopies(bytes: Buffer, at: number, end: number): string[] {
  if (findAnnotation(bytes, at, end, key) < 0) return [];
  const annotations = new Decoder(bytes, at).read();
  const copies = annotations instanceof AmqpMap ? annotations.get(copiesAnnotation) : undefined;
  return Array.isArray(copies) ? copies.filter((copy) => typeof copy === 'string') : [];
}
