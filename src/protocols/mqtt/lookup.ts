import { type Found, HeaderName, type Lookup, type LookupField, mayBeOwn, undecided } from '../../core/lookup.ts';
import { retainHeader } from '../../core/retained.ts';
import type { TextHeaders } from '../../core/text-headers.ts';
import { decodeText } from '../../lib/bytes.ts';
import { PropertyId, skipProperty } from './properties.ts';

const nameOf: Readonly<Record<LookupField, HeaderName>> = {
  messageId: new HeaderName('message-id'),
  groupId: new HeaderName('x-group-id'),
  groupSequence: new HeaderName('x-group-sequence'),
};

/** User properties of a block that was read without complaint when it came. */
export function createLookup(userProperties: TextHeaders): Lookup {
  return {
    findHeader(native, name) {
      if (name.isOwn || name.text === retainHeader) return undecided;
      const found = findText(native, name);
      return found === undefined || userProperties.isPlain(name.text) ? found : undecided;
    },

    findField(native, field) {
      const found = findText(native, nameOf[field]);
      return found !== undefined && field === 'groupSequence' ? undecided : found;
    },
  };
}

// The first of the name: the others are residue.
function findText(native: Buffer, name: HeaderName): Found {
  let found: Found;
  for (let at = 0; at < native.length; ) {
    const end = skipProperty(native, at);
    if (native[at] === PropertyId.userProperty) {
      const nameAt = at + 3;
      const nameEnd = nameAt + native.readUInt16BE(at + 1);
      if (mayBeOwn(native, nameAt, nameEnd)) return undecided;
      if (found === undefined && name.isAt(native, nameAt, nameEnd)) found = decodeText(native, nameEnd + 2, end);
    }
    at = end;
  }
  return found;
}
