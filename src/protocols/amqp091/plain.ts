import { type PlainForm, type PlainParts, PlainPlace } from '../../core/plain-message.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { Flag, isOwnName } from './properties.ts';

const unknown = Flag.replyTo | Flag.expiration | Flag.userId | Flag.clusterId | Flag.more;
/** In the upper half of a timestamp, seconds since a time that milliseconds do not count in a number. */
const secondsHighMax = 2047;
const longString = 0x53; // S

const out = new OctetWriter();

/** A property list without reply address, expiration and user, and with a table of long strings. */
export const amqp091Plain: PlainForm = {
  protocol: 'amqp-0-9-1',
  keyLengthMax: 85, // a unit is at most three octets of 255

  placeOf: (name) => (isOwnName(name) ? PlainPlace.refused : PlainPlace.header),

  // The list was read when it came: nothing in it is cut.
  read(message, parts) {
    const { bytes } = message;
    const flags = bytes.readUInt16BE(message.nativeStart);
    if ((flags & unknown) !== 0) return false;
    let at = message.nativeStart + 2;
    if ((flags & Flag.contentType) !== 0) at = readShort(parts, PlainPlace.contentType, at);
    if ((flags & Flag.contentEncoding) !== 0 && at > 0) at = readShort(parts, PlainPlace.contentEncoding, at);
    if (at < 0) return false;
    if ((flags & Flag.headers) !== 0) {
      const end = at + 4 + bytes.readUInt32BE(at);
      at += 4;
      while (at < end) {
        const nameEnd = at + 1 + bytes[at]!;
        if (bytes[nameEnd] !== longString) return false;
        const valueEnd = nameEnd + 5 + bytes.readUInt32BE(nameEnd + 1);
        if (!parts.addHeader(at + 1, nameEnd, nameEnd + 5, valueEnd)) return false;
        at = valueEnd;
      }
    }
    if ((flags & Flag.deliveryMode) !== 0) parts.durable = bytes[at++] === 2;
    if ((flags & Flag.priority) !== 0) parts.priority = bytes[at++]!;
    if ((flags & Flag.correlationId) !== 0) at = readShort(parts, PlainPlace.correlationId, at);
    if ((flags & Flag.messageId) !== 0 && at > 0) at = readShort(parts, PlainPlace.messageId, at);
    if ((flags & Flag.timestamp) !== 0 && at > 0) {
      const high = bytes.readUInt32BE(at);
      if (high > secondsHighMax) return false;
      parts.timestampMs = (high * 0x1_0000_0000 + bytes.readUInt32BE(at + 4)) * 1000;
      at += 8;
    }
    if ((flags & Flag.type) !== 0 && at > 0) at = readShort(parts, PlainPlace.type, at);
    if ((flags & Flag.appId) !== 0 && at > 0) at = readShort(parts, PlainPlace.appId, at);
    return at > 0;
  },

  write(parts) {
    const { bytes, durable, priority, timestampMs } = parts;
    if (timestampMs >= 0 && timestampMs % 1000 !== 0) return undefined; // a companion says the rest
    if (parts.hasLongField) return undefined;
    out.begin();
    out.u16(0);
    let flags: number = Flag.headers;
    flags |= writeShort(parts, PlainPlace.contentType, Flag.contentType);
    flags |= writeShort(parts, PlainPlace.contentEncoding, Flag.contentEncoding);
    const tableAt = out.skip(4);
    for (let i = 0; i < parts.headers; i++) {
      const nameAt = parts.nameAt[i]!;
      const nameEnd = parts.nameEnd[i]!;
      const valueAt = parts.valueAt[i]!;
      const valueEnd = parts.valueEnd[i]!;
      out.u8(nameEnd - nameAt);
      out.range(bytes, nameAt, nameEnd);
      out.u8(longString);
      out.u32(valueEnd - valueAt);
      out.range(bytes, valueAt, valueEnd);
    }
    out.bytes.writeUInt32BE(out.at - tableAt - 4, tableAt);
    if (durable !== undefined) {
      flags |= Flag.deliveryMode;
      out.u8(durable ? 2 : 1);
    }
    if (priority >= 0) {
      flags |= Flag.priority;
      out.u8(priority);
    }
    flags |= writeShort(parts, PlainPlace.correlationId, Flag.correlationId);
    flags |= writeShort(parts, PlainPlace.messageId, Flag.messageId);
    if (timestampMs >= 0) {
      flags |= Flag.timestamp;
      out.u64(timestampMs / 1000);
    }
    flags |= writeShort(parts, PlainPlace.type, Flag.type);
    flags |= writeShort(parts, PlainPlace.appId, Flag.appId);
    out.bytes.writeUInt16BE(flags, 0);
    return out.end();
  },
};

/** @returns the offset behind it; −1 when it is not plain */
function readShort(parts: PlainParts, place: PlainPlace, at: number): number {
  const end = at + 1 + parts.bytes[at]!;
  return parts.setField(place, at + 1, end) ? end : -1;
}

// Its flag, or 0 when there is none.
function writeShort(parts: PlainParts, place: PlainPlace, flag: number): number {
  if (!parts.hasField(place)) return 0;
  out.u8(parts.fieldBytes(place));
  out.range(parts.bytes, parts.fieldAt[place]!, parts.fieldEnd[place]!);
  return flag;
}
