import { type Found, HeaderName, type Lookup, type LookupField, mayBeOwn, undecided } from '../../core/lookup.ts';
import { decodeText } from '../../lib/bytes.ts';
import { Flag, isOwnName } from './properties.ts';
import { decodeValue, skipValue } from './table.ts';

const fieldHeaders: Readonly<Record<LookupField, HeaderName>> = {
  messageId: new HeaderName('x-message-id'),
  groupId: new HeaderName('x-group-id'),
  groupSequence: new HeaderName('x-group-sequence'),
};

/** A header, or a field, of a property list that was read without complaint when it came. */
export const amqp091Lookup: Lookup = {
  findHeader(native, name) {
    const found = findValue(native, name);
    return found === undefined || !isOwnName(name.text) ? found : undecided;
  },

  findField(native, field) {
    const found = findValue(native, fieldHeaders[field]);
    if (found === undecided) return undecided;
    switch (field) {
      case 'messageId':
        return findMessageId(native) ?? (found === undefined ? undefined : undecided);
      case 'groupId':
        return found === undefined || typeof found === 'string' ? found : undecided;
      case 'groupSequence':
        return found === undefined ? undefined : undecided;
    }
  },
};

const cursor = { at: 0 };

// The last of the name, as in a map.
function findValue(native: Buffer, name: HeaderName): Found {
  if (name.isOwn) return undecided;
  const table = tableAt(native);
  if (table < 0) return undefined;
  const end = table + 4 + native.readUInt32BE(table);
  let found = -1;
  for (let at = table + 4; at < end; ) {
    const nameEnd = at + 1 + native[at]!;
    if (mayBeOwn(native, at + 1, nameEnd)) return undecided;
    if (name.isAt(native, at + 1, nameEnd)) found = nameEnd;
    at = skipValue(native, nameEnd, end, 0);
  }
  if (found < 0) return undefined;
  cursor.at = found;
  return decodeValue(native, cursor, end, 0);
}

function tableAt(native: Buffer): number {
  const flags = native.readUInt16BE(0);
  if ((flags & Flag.headers) === 0) return -1;
  let at = 2;
  if ((flags & Flag.contentType) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.contentEncoding) !== 0) at += 1 + native[at]!;
  return at;
}

function findMessageId(native: Buffer): string | undefined {
  const flags = native.readUInt16BE(0);
  if ((flags & Flag.messageId) === 0) return undefined;
  let at = 2;
  if ((flags & Flag.contentType) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.contentEncoding) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.headers) !== 0) at += 4 + native.readUInt32BE(at);
  if ((flags & Flag.deliveryMode) !== 0) at += 1;
  if ((flags & Flag.priority) !== 0) at += 1;
  if ((flags & Flag.correlationId) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.replyTo) !== 0) at += 1 + native[at]!;
  if ((flags & Flag.expiration) !== 0) at += 1 + native[at]!;
  return decodeText(native, at + 1, at + 1 + native[at]!);
}
