import { type PlainForm, type PlainParts, PlainPlace } from '../../core/plain-message.ts';
import { replyTopicHeader } from '../../core/reply.ts';
import type { TextHeaders } from '../../core/text-headers.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { PropertyId, skipProperty } from './properties.ts';

/** Fields that are user properties, in the order in which they are written, each with its identifier and name. */
const fieldNames = (
  [
    [PlainPlace.contentEncoding, 'content-encoding'],
    [PlainPlace.messageId, 'message-id'],
    [PlainPlace.priority, 'priority'],
    [PlainPlace.timestamp, 'timestamp'],
    [PlainPlace.appId, 'app-id'],
    [PlainPlace.type, 'type'],
  ] as const
).map(
  ([place, name]) => [place, Buffer.from([PropertyId.userProperty, 0, name.length, ...Buffer.from(name)])] as const,
);

const out = new OctetWriter();

/** A property block of user properties, a content type and a correlation; QoS says whether it is durable. */
export function createPlain(userProperties: TextHeaders): PlainForm {
  return {
    protocol: 'mqtt',

    placeOf: (name) => (name === replyTopicHeader ? PlainPlace.refused : userProperties.placeOf(name)),

    // The block was read when it came: nothing in it is cut.
    read(message, parts) {
      const { bytes, nativeEnd } = message;
      parts.durable = message.qos > 0;
      let at = message.nativeStart;
      while (at < nativeEnd) {
        const end = skipProperty(bytes, at);
        switch (bytes[at]) {
          case PropertyId.userProperty: {
            const nameEnd = at + 3 + bytes.readUInt16BE(at + 1);
            if (!parts.addHeader(at + 3, nameEnd, nameEnd + 2, end)) return false;
            break;
          }
          case PropertyId.contentType:
            if (!parts.setField(PlainPlace.contentType, at + 3, end)) return false;
            break;
          case PropertyId.correlationData:
            if (!parts.setField(PlainPlace.correlationId, at + 3, end)) return false;
            break;
          case PropertyId.topicAlias:
            break;
          default:
            return false;
        }
        at = end;
      }
      return true;
    },

    write(parts) {
      const { bytes } = parts;
      out.begin();
      if (parts.hasField(PlainPlace.contentType)) {
        out.u8(PropertyId.contentType);
        writeText(parts, PlainPlace.contentType);
      }
      if (parts.hasField(PlainPlace.correlationId)) {
        out.u8(PropertyId.correlationData);
        writeText(parts, PlainPlace.correlationId);
      }
      for (const [place, name] of fieldNames) writeField(parts, place, name);
      for (let i = 0; i < parts.headers; i++) {
        const nameAt = parts.nameAt[i]!;
        const nameEnd = parts.nameEnd[i]!;
        const valueAt = parts.valueAt[i]!;
        const valueEnd = parts.valueEnd[i]!;
        out.u8(PropertyId.userProperty);
        out.u16(nameEnd - nameAt);
        out.range(bytes, nameAt, nameEnd);
        out.u16(valueEnd - valueAt);
        out.range(bytes, valueAt, valueEnd);
      }
      return out.end();
    },
  };
}

function writeField(parts: PlainParts, place: PlainPlace, name: Buffer): void {
  if (place === PlainPlace.priority || place === PlainPlace.timestamp) {
    const number = place === PlainPlace.priority ? parts.priority : parts.timestampMs;
    if (number < 0) return;
    out.raw(name);
    const lengthAt = out.skip(2);
    out.decimal(number);
    out.bytes.writeUInt16BE(out.at - lengthAt - 2, lengthAt);
  } else if (parts.hasField(place)) {
    out.raw(name);
    writeText(parts, place);
  }
}

function writeText(parts: PlainParts, place: PlainPlace): void {
  out.u16(parts.fieldBytes(place));
  out.range(parts.bytes, parts.fieldAt[place]!, parts.fieldEnd[place]!);
}
