/** A frame of AMQP's usual frame_max, and more. */
export const batchBytes = 136 * 1024;
/** Most connections write little in a turn: a thousand of them share what thirty large batches would take. */
export const smallBatchBytes = 4 * 1024;

const smallMax = 1024;
const batchesMax = 144;
/** Octets of all large buffers that nobody uses. */
const largeBytesMax = 16 * 1024 * 1024;

const smalls: Buffer[] = [];
const batches: Buffer[] = [];
/** Longer than a batch, the one that was returned first in front. */
const larges: Buffer[] = [];
let largeBytes = 0;

/**
 * Memory that all connections share, 39 MiB at most beside what is in use (4 in small buffers, 19 in batches, 16 in large
 * ones): for what gathers before it is sent, and for frames that come in several reads. A new buffer of some size for each message makes the collector run all the time: with bodies
 * of 1 MiB it took two thirds of the broker's CPU.
 *
 * @returns `bytes` octets or more, of the caller until he returns them; what they hold is anything
 */
export function takeBuffer(bytes: number): Buffer {
  if (bytes <= smallBatchBytes) return smalls.pop() ?? Buffer.allocUnsafeSlow(smallBatchBytes);
  if (bytes <= batchBytes) return batches.pop() ?? Buffer.allocUnsafeSlow(batchBytes);
  return findLargeBuffer(bytes) ?? Buffer.allocUnsafeSlow(bytes);
}

/** The same if there is one: who only announces that he will need it takes no memory. */
export function findLargeBuffer(bytes: number): Buffer | undefined {
  for (let i = larges.length - 1; i >= 0; i--) {
    const { length } = larges[i]!;
    if (length < bytes || length > 2 * bytes) continue;
    largeBytes -= length;
    return larges.splice(i, 1)[0];
  }
  return undefined;
}

/** Of any length: what is of no use to others is forgotten. */
export function returnBuffer(buffer: Buffer): void {
  const { length } = buffer;
  if (length === smallBatchBytes) {
    if (smalls.length < smallMax) smalls.push(buffer);
  } else if (length === batchBytes) {
    if (batches.length < batchesMax) batches.push(buffer);
  } else if (length > batchBytes && length <= largeBytesMax) {
    larges.push(buffer);
    largeBytes += length;
    while (largeBytes > largeBytesMax) largeBytes -= larges.shift()!.length;
  }
}
