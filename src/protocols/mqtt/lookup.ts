import { type Found, HeaderName, type Lookup, type LookupField, mayBeOwn, undecided } from '../../core/lookup.ts';
import { retainHeader } from '../../core/retained.ts';
import type { TextHeaders } from '../../core/text-headers.ts';
import { decodeText } from '../../lib/bytes.ts';
import { PropertyId } from './properties.ts';

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
    const id = native[at]!;
    at += 1;
    switch (id) {
      case PropertyId.payloadFormatIndicator:
        at += 1;
        break;
      case PropertyId.topicAlias:
        at += 2;
        break;
      case PropertyId.messageExpiryInterval:
        at += 4;
        break;
      case PropertyId.responseTopic:
      case PropertyId.correlationData:
      case PropertyId.contentType:
        at += 2 + native.readUInt16BE(at);
        break;
      case PropertyId.userProperty: {
        const nameEnd = at + 2 + native.readUInt16BE(at);
        const end = nameEnd + 2 + native.readUInt16BE(nameEnd);
        if (mayBeOwn(native, at + 2, nameEnd)) return undecided;
        if (found === undefined && name.isAt(native, at + 2, nameEnd)) found = decodeText(native, nameEnd + 2, end);
        at = end;
        break;
      }
      default:
        return undecided;
    }
  }
  return found;
}
