import { countLoss } from '../../core/losses.ts';
import type { Message } from '../../core/message.ts';
import type { QueueEntry } from '../../core/queue/entry.ts';
import { shownDeliveryCount } from '../../core/queue/redelivery.ts';
import { copyBytes, decodeText, encodeText } from '../../lib/bytes.ts';
import type { Stream } from '../../transport/stream.ts';
import { amqp091Format } from './message.ts';
import { cutText } from './methods.ts';
import { withLongHeader, withoutHeaders } from './properties.ts';
import { FrameType, frameEnd, frameOverhead, methods } from './spec.ts';

/**
 * A message's content as frames. Published by 0-9-1 and small enough, it lies in the message's bytes as it came, and
 * is valid as it goes, but for two channel numbers:
 *
 *     start                                          nativeEnd          bodyStart       bodyEnd  end
 *     │ 2 │ channel │ size │ class weight body-size │ native │ CE │ 3 │ channel │ size │ body │ CE │
 *       1      2       4        2      2       8                 1    1      2       4             1
 */
export const headerPrefix = 7 + 12;

function isFramed(message: Message): boolean {
  return (
    message.format === amqp091Format &&
    message.nativeStart - message.start === headerPrefix &&
    (message.bodyStart === message.bodyEnd
      ? message.end === message.nativeEnd + 1
      : message.bodyStart === message.nativeEnd + 8 && message.end === message.bodyEnd + 1)
  );
}

/** The content header is one frame: false when a property list of so many octets is too long for it. */
function hasRoom(nativeBytes: number, frameMax: number): boolean {
  return headerPrefix + nativeBytes + 1 <= frameMax;
}

/** False for what 0-9-1 has no words for, or what the peer's frames have no room for: counted as a loss. */
export function represents(message: Message, frameMax: number): boolean {
  const isWhole = message.isWholeAs(amqp091Format);
  if (hasRoom(message.as(amqp091Format).length, frameMax)) return isWhole;
  countLoss(message, amqp091Format, 'headers');
  return false;
}

const dot = 0x2e;

/**
 * A routing key as the address of a delivery shows it: of a topic that is longer than a short string the words that fit, for
 * the whole is in a header.
 */
export function shownKey(routingKey: string): string {
  if (routingKey.length * 3 <= 255) return routingKey;
  const key = encodeText(routingKey);
  if (key.length <= 255) return routingKey;
  const wordEnd = key.lastIndexOf(dot, 255);
  const shown = wordEnd > 0 ? key.subarray(0, wordEnd) : cutText(key, 255);
  return decodeText(shown, 0, shown.length);
}

/**
 * The property list can be copied from where it lies in the message's bytes: a message that was read back from the disk
 * is not framed, and a view of its list for each delivery cost as much as reading it.
 */
function liesAsShown(message: Message, frameMax: number): boolean {
  return (
    message.format === amqp091Format &&
    message.deaths.length === 0 &&
    hasRoom(message.nativeEnd - message.nativeStart, frameMax)
  );
}

// Without its headers where they are too long for the peer's frames: properties alone always fit.
function nativeWithin(message: Message, frameMax: number): Buffer {
  const native = message.as(amqp091Format);
  return hasRoom(native.length, frameMax) ? native : withoutHeaders(native);
}

/**
 * The property list of a message that came back to a quorum queue; null where the message's own is shown
 * [RabbitMQ: quorum queues, poison message handling].
 */
export function shownInstead(entry: QueueEntry, frameMax: number): Buffer | null {
  const count = shownDeliveryCount(entry);
  if (count === 0) return null;
  const native = withLongHeader(entry.message.as(amqp091Format), 'x-delivery-count', count);
  return hasRoom(native.length, frameMax) ? native : null;
}

/**
 * Octets of the header frame and the body frames.
 * @param shown the property list that is shown instead of the message's own
 */
export function contentBytes(message: Message, frameMax: number, shown: Buffer | null): number {
  const body = message.bodyBytes;
  if (
    shown === null &&
    isFramed(message) &&
    body + frameOverhead <= frameMax &&
    hasRoom(message.nativeEnd - message.nativeStart, frameMax)
  )
    return message.end - message.start;
  return headerBytes(message, frameMax, shown) + body + frameOverhead * Math.ceil(body / (frameMax - frameOverhead));
}

/** Octets of the header frame alone. */
export function headerBytes(message: Message, frameMax: number, shown: Buffer | null): number {
  if (shown === null && liesAsShown(message, frameMax)) {
    return headerPrefix + message.nativeEnd - message.nativeStart + 1;
  }
  const native = (shown ?? nativeWithin(message, frameMax)).length;
  if (shown === null && native < message.as(amqp091Format).length) countLoss(message, amqp091Format, 'headers');
  return headerPrefix + native + 1;
}

/** Writes what `contentBytes` counted. */
export function writeContent(
  out: Buffer,
  at: number,
  message: Message,
  channel: number,
  frameMax: number,
  shown: Buffer | null,
): void {
  if (
    shown === null &&
    isFramed(message) &&
    message.bodyBytes + frameOverhead <= frameMax &&
    hasRoom(message.nativeEnd - message.nativeStart, frameMax)
  ) {
    message.bytes.copy(out, at, message.start, message.end);
    out[at + 1] = channel >> 8;
    out[at + 2] = channel & 0xff;
    if (message.bodyStart === message.bodyEnd) return;
    const bodyFrame = at + message.nativeEnd + 1 - message.start;
    out[bodyFrame + 1] = channel >> 8;
    out[bodyFrame + 2] = channel & 0xff;
    return;
  }
  at = writeHeader(out, at, message, channel, frameMax, shown);
  const payloadMax = frameMax - frameOverhead;
  for (let from = message.bodyStart; from < message.bodyEnd; from += payloadMax) {
    const to = Math.min(from + payloadMax, message.bodyEnd);
    at = writeFrameHead(out, at, FrameType.body, channel, to - from);
    at += message.bytes.copy(out, at, from, to);
    out[at++] = frameEnd;
  }
}

/** Writes what `headerBytes` counted. @returns the offset behind it */
export function writeHeader(
  out: Buffer,
  at: number,
  message: Message,
  channel: number,
  frameMax: number,
  shown: Buffer | null,
): number {
  const native = shown === null && liesAsShown(message, frameMax) ? null : (shown ?? nativeWithin(message, frameMax));
  const nativeBytes = native === null ? message.nativeEnd - message.nativeStart : native.length;
  at = writeFrameHead(out, at, FrameType.header, channel, 12 + nativeBytes);
  writeUint32(out, at, methods.basicPublish.classId << 16);
  writeUint32(out, at + 4, 0);
  writeUint32(out, at + 8, message.bodyBytes);
  if (native === null) copyBytes(message.bytes, message.nativeStart, message.nativeEnd, out, at + 12);
  else native.copy(out, at + 12);
  at += 12 + nativeBytes;
  out[at] = frameEnd;
  return at + 1;
}

/** The frames of a long body, which is not copied where its stream can do without. */
export function writeLongBody(stream: Stream, message: Message, channel: number, frameMax: number): void {
  const payloadMax = frameMax - frameOverhead;
  for (let from = message.bodyStart; from < message.bodyEnd; from += payloadMax) {
    const to = Math.min(from + payloadMax, message.bodyEnd);
    const at = stream.reserve(frameHeadBytes);
    writeFrameHead(stream.out, at, FrameType.body, channel, to - from);
    stream.advance(frameHeadBytes);
    stream.writeRange(message.bytes, from, to, frameEndOctet);
  }
}

const frameHeadBytes = 7;
const frameEndOctet = Buffer.from([frameEnd]);

function writeFrameHead(out: Buffer, at: number, type: number, channel: number, size: number): number {
  out[at] = type;
  out[at + 1] = channel >> 8;
  out[at + 2] = channel;
  writeUint32(out, at + 3, size);
  return at + frameHeadBytes;
}

// Octet by octet: what came back from the disk has its header written anew, and Buffer's method is a call.
function writeUint32(out: Buffer, at: number, value: number): void {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
}
