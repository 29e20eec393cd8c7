import { type Found, HeaderName, type Lookup, type LookupField, mayBeOwn, undecided } from '../../core/lookup.ts';
import { replyTopicHeader } from '../../core/reply.ts';
import type { TextHeaders } from '../../core/text-headers.ts';
import { decodeText } from '../../lib/bytes.ts';

const nameOf: Readonly<Record<LookupField, HeaderName>> = {
  messageId: new HeaderName('amqp-message-id'),
  groupId: new HeaderName('JMSXGroupID'),
  groupSequence: new HeaderName('JMSXGroupSeq'),
};
const otherNameOf: Readonly<Partial<Record<LookupField, HeaderName>>> = {
  groupId: new HeaderName('x-group-id'),
  groupSequence: new HeaderName('x-group-sequence'),
};

/** Header lines; those with an escape in them are not decided. */
export function createLookup(lines: TextHeaders): Lookup {
  return {
    findHeader(native, name) {
      if (name.isOwn || name.text === replyTopicHeader) return undecided;
      const found = findText(native, name);
      return found === undefined || lines.isPlain(name.text) ? found : undecided;
    },

    findField(native, field) {
      const other = otherNameOf[field];
      let found = findText(native, nameOf[field]);
      if (found === undefined && other !== undefined) found = findText(native, other);
      return found !== undefined && field === 'groupSequence' ? undecided : found;
    },
  };
}

// The first of the name: the others are residue.
function findText(native: Buffer, name: HeaderName): Found {
  let found: Found;
  for (let at = 0; at < native.length; ) {
    let colon = -1;
    let end = at;
    for (; end < native.length; end++) {
      const octet = native[end]!;
      if (octet === 0x0a) break; // LF
      if (octet === 0x5c) return undecided; // \
      if (octet === 0x3a && colon < 0) colon = end; // :
    }
    if (colon >= 0) {
      if (mayBeOwn(native, at, colon)) return undecided;
      if (found === undefined && name.isAt(native, at, colon)) {
        if (native[colon + 1] === 0x20) return undecided; // of 1.0 it is no part of the value
        found = decodeText(native, colon + 1, end);
      }
    }
    at = end + 1;
  }
  return found;
}
