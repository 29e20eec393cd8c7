import type { Message } from '../../core/message.ts';
import { copyBytes } from '../../lib/bytes.ts';
import type { Stream } from '../../transport/stream.ts';
import { mqtt5Format } from './message.ts';
import { PacketType, type Version } from './packet.ts';
import { PropertyId, varintBytes, writeVarint } from './properties.ts';
import { topicBytes } from './topic.ts';

export interface Delivery {
  readonly version: Version;
  readonly qos: number;
  readonly retain: boolean;
  readonly duplicate: boolean;
  /** 0 with QoS 0. */
  readonly packetId: number;
  readonly subscriptionIds: readonly number[];
  readonly nowMs: number;
}

/**
 * Writes a PUBLISH straight into the stream's batch.
 *
 *     flags │ remaining length │ topic (u16 +) │ packet id, QoS > 0 │ properties (5.0: varint +) │ payload
 *
 * @returns false when the packet would be longer than `packetMax`; nothing is written then
 */
export function writePublish(stream: Stream, message: Message, delivery: Delivery, packetMax: number): boolean {
  const topic = topicBytes(message.routingKey);
  let native: Buffer | null = null;
  let propertyBytes = 0;
  let blockBytes = 0;
  if (delivery.version === 5) {
    native = message.as(mqtt5Format);
    propertyBytes = native.length;
    for (const id of delivery.subscriptionIds) propertyBytes += 1 + varintBytes(id);
    blockBytes = varintBytes(propertyBytes) + propertyBytes;
  }
  const remaining = 2 + topic.length + (delivery.qos > 0 ? 2 : 0) + blockBytes + message.bodyBytes;
  const bytes = 1 + varintBytes(remaining) + remaining;
  if (bytes > packetMax) return false;
  let at = stream.reserve(bytes);
  const out = stream.out;
  out[at] = (PacketType.publish << 4) | (delivery.duplicate ? 8 : 0) | (delivery.qos << 1) | (delivery.retain ? 1 : 0);
  at = writeVarint(out, at + 1, remaining);
  out[at] = topic.length >> 8;
  out[at + 1] = topic.length & 0xff;
  copyBytes(topic, 0, topic.length, out, at + 2);
  at += 2 + topic.length;
  if (delivery.qos > 0) {
    out[at] = delivery.packetId >> 8;
    out[at + 1] = delivery.packetId & 0xff;
    at += 2;
  }
  if (native !== null) {
    at = writeVarint(out, at, propertyBytes);
    copyBytes(native, 0, native.length, out, at);
    if (message.expiresAtMs !== 0) patchExpiry(out, at, at + native.length, message.expiresAtMs - delivery.nowMs);
    at += native.length;
    for (const id of delivery.subscriptionIds) {
      out[at] = PropertyId.subscriptionIdentifier;
      at = writeVarint(out, at + 1, id);
    }
  }
  copyBytes(message.bytes, message.bodyStart, message.bodyEnd, out, at);
  stream.advance(bytes);
  return true;
}

// [MQTT-3.3.2-6] what remains of the expiry interval, in seconds, rounded up
function patchExpiry(out: Buffer, start: number, end: number, remainingMs: number): void {
  let at = start;
  while (at < end) {
    const id = out[at++]!;
    switch (id) {
      case PropertyId.messageExpiryInterval:
        out.writeUInt32BE(Math.max(0, Math.ceil(remainingMs / 1000)), at);
        return;
      case PropertyId.payloadFormatIndicator:
        at += 1;
        break;
      case PropertyId.topicAlias:
        at += 2;
        break;
      case PropertyId.userProperty:
        at += 2 + out.readUInt16BE(at);
        at += 2 + out.readUInt16BE(at);
        break;
      default: // content type, response topic, correlation data
        at += 2 + out.readUInt16BE(at);
    }
  }
}

/** Packets of four octets: type, length 2, packet id. */
export function writeShortAck(stream: Stream, type: number, packetId: number): void {
  const at = stream.reserve(4);
  const out = stream.out;
  out[at] = type << 4;
  out[at + 1] = 2;
  out[at + 2] = packetId >> 8;
  out[at + 3] = packetId & 0xff;
  stream.advance(4);
}

/** A packet of a head octet, its remaining length and that. */
export function packet(head: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const out = Buffer.alloc(1 + varintBytes(body.length));
  out[0] = head;
  writeVarint(out, 1, body.length);
  return Buffer.concat([out, body]);
}
