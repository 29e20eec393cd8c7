import { type PlainForm, type PlainParts, PlainPlace } from '../../core/plain-message.ts';
import { replyTopicHeader } from '../../core/reply.ts';
import type { TextHeaders } from '../../core/text-headers.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import type { Version } from './versions.ts';

/** The names of fields, in the order in which they are written. */
const fieldLines = [
  [PlainPlace.contentType, Buffer.from('content-type:')],
  [PlainPlace.contentEncoding, Buffer.from('content-encoding:')],
  [PlainPlace.correlationId, Buffer.from('correlation-id:')],
  [PlainPlace.messageId, Buffer.from('amqp-message-id:')],
  [PlainPlace.priority, Buffer.from('priority:')],
  [PlainPlace.timestamp, Buffer.from('timestamp:')],
  [PlainPlace.appId, Buffer.from('app-id:')],
  [PlainPlace.type, Buffer.from('type:')],
] as const;
const durable = Buffer.from('persistent:true\n');
const transient = Buffer.from('persistent:false\n');

const out = new OctetWriter();

/** Header lines without escapes, fields and `persistent` among them. */
export function createPlain(lines: TextHeaders, version: Version): PlainForm {
  return {
    protocol: 'stomp',

    placeOf(name) {
      if (name === 'priority') return PlainPlace.priority; // reserved: a SEND with another one is refused
      return name === replyTopicHeader ? PlainPlace.refused : lines.placeOf(name);
    },

    read(message, parts) {
      const { bytes, nativeEnd } = message;
      for (let at = message.nativeStart; at < nativeEnd; ) {
        let colon = at;
        while (colon < nativeEnd && bytes[colon] !== 0x3a) colon += 1;
        let end = colon;
        for (; end < nativeEnd && bytes[end] !== 0x0a; end++) if (bytes[end] === 0x5c) return false; // \
        if (end >= nativeEnd || !addLine(parts, at, colon, end)) return false;
        at = end + 1;
      }
      return true;
    },

    write(parts) {
      const { bytes } = parts;
      const isEscaped = parts.hasEscapes && version !== '1.0';
      out.begin();
      for (const [place, name] of fieldLines) writeField(parts, place, name, isEscaped);
      for (let i = 0; i < parts.headers; i++) {
        out.range(bytes, parts.nameAt[i]!, parts.nameEnd[i]!);
        out.u8(0x3a); // :
        writeText(parts, parts.valueAt[i]!, parts.valueEnd[i]!, isEscaped);
      }
      if (parts.durable !== undefined) out.raw(parts.durable ? durable : transient);
      return out.end();
    },
  };
}

// A line of the frame's own meaning, or a header.
function addLine(parts: PlainParts, at: number, colon: number, end: number): boolean {
  if (!isAt(durable, parts.bytes, at, colon)) return parts.addHeader(at, colon, colon + 1, end);
  if (parts.durable !== undefined || !isAt(durable, parts.bytes, at, end)) return false;
  parts.durable = true;
  return true;
}

// The first octets of `line`, up to its colon or its line feed.
function isAt(line: Buffer, bytes: Buffer, at: number, end: number): boolean {
  const length = end - at;
  for (let i = 0; i < length; i++) if (line[i] !== bytes[at + i]) return false;
  return line[length] === 0x3a || line[length] === 0x0a;
}

function writeField(parts: PlainParts, place: PlainPlace, name: Buffer, isEscaped: boolean): void {
  if (place === PlainPlace.priority || place === PlainPlace.timestamp) {
    const number = place === PlainPlace.priority ? parts.priority : parts.timestampMs;
    if (number < 0) return;
    out.raw(name);
    out.decimal(number);
    out.u8(0x0a);
  } else if (parts.hasField(place)) {
    out.raw(name);
    writeText(parts, parts.fieldAt[place]!, parts.fieldEnd[place]!, isEscaped);
  }
}

// Behind its colon, with its line feed.
function writeText({ bytes }: PlainParts, at: number, end: number, isEscaped: boolean): void {
  if (!isEscaped) out.range(bytes, at, end);
  else {
    for (let i = at; i < end; i++) {
      const octet = bytes[i]!;
      if (octet === 0x3a) {
        out.u8(0x5c);
        out.u8(0x63); // \c
      } else {
        if (octet === 0x5c) out.u8(0x5c);
        out.u8(octet);
      }
    }
  }
  out.u8(0x0a);
}
