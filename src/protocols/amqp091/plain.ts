import type { PlainForm } from '../../core/plain-message.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { Flag, isOwnName } from './properties.ts';

const known = Flag.contentType | Flag.headers | Flag.deliveryMode;
const longString = 0x53; // S

const out = new OctetWriter();

/** A property list with a content type, a delivery mode, and a table of long strings. */
export const amqp091Plain: PlainForm = {
  protocol: 'amqp-0-9-1',
  keyLengthMax: 85, // a unit is at most three octets of 255

  isPlainName: (name) => !isOwnName(name),

  // The list was read when it came: nothing in it is cut.
  read(message, parts) {
    const { bytes } = message;
    const flags = bytes.readUInt16BE(message.nativeStart);
    if ((flags & ~known) !== 0) return false;
    let at = message.nativeStart + 2;
    if ((flags & Flag.contentType) !== 0) {
      const end = at + 1 + bytes[at]!;
      if (!parts.setContentType(at + 1, end)) return false;
      at = end;
    }
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
    if ((flags & Flag.deliveryMode) !== 0) parts.durable = bytes[at] === 2;
    return true;
  },

  write(parts) {
    const { bytes, durable, contentTypeAt, contentTypeEnd } = parts;
    if (contentTypeEnd - contentTypeAt > 255) return undefined;
    out.begin();
    out.u16(
      Flag.headers | (contentTypeAt < 0 ? 0 : Flag.contentType) | (durable === undefined ? 0 : Flag.deliveryMode),
    );
    if (contentTypeAt >= 0) {
      out.u8(contentTypeEnd - contentTypeAt);
      out.range(bytes, contentTypeAt, contentTypeEnd);
    }
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
    if (durable !== undefined) out.u8(durable ? 2 : 1);
    return out.end();
  },
};
