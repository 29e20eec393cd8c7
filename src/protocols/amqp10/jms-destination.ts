import { annotationKey, findAnnotation } from './annotations.ts';

const key = annotationKey('x-opt-jms-dest');
/** Octets of a number of one octet: ubyte, byte, and int and long in short. */
const smallNumbers = [0x50, 0x51, 0x54, 0x55];
const topic = 1;
const temporaryTopic = 3;

/**
 * JMS' names of queues and topics look alike: a producer without a destination says in an annotation of each message which of
 * them its `to` is.
 * @param at where the map of annotations begins
 */
export function isForTopic(bytes: Buffer, at: number, end: number): boolean {
  const value = findAnnotation(bytes, at, end, key);
  if (value < 0 || !smallNumbers.includes(bytes[value]!)) return false;
  return bytes[value + 1] === topic || bytes[value + 1] === temporaryTopic;
}
