import { type Found, type HeaderName, type Lookup, type LookupField, mayBeOwn, undecided } from '../../core/lookup.ts';
import type { Value } from '../../core/properties.ts';
import { ListCursor, Sections } from './sections.ts';
import { type Any, Decoder, isTyped, skipPlain } from './types.ts';

/** Places in the properties section [AMQP 1.0 §3.2.4]. */
const indexOf = { messageId: 0, groupId: 10, groupSequence: 11 } as const;

const sections = new Sections();
const items = new ListCursor();

/**
 * Application properties, and fields of the properties section. A section with a value that could turn out to be
 * malformed is not decided, for then all of it is as if it were absent.
 *
 * @param isReserved true for names that do not mean the application property of the same name
 * @param sectionsAt where the sections begin in `native`
 */
export function createLookup(isReserved: (name: string) => boolean, sectionsAt: (native: Buffer) => number): Lookup {
  return {
    findHeader(native, name) {
      if (isReserved(name.text)) return undecided;
      sections.read(native, sectionsAt(native), native.length);
      return findProperty(native, name);
    },

    findField(native, field) {
      sections.read(native, sectionsAt(native), native.length);
      if (findProperty(native, null) === undecided) return undecided;
      if (sections.properties < 0) return undefined;
      const at = findItem(native, sections.properties, indexOf[field]);
      if (at === -1) return undefined;
      if (at === -2) return undecided;
      const value = new Decoder(native, at).read();
      if (value === null) return undefined;
      return isOfField(field, value) ? (value as Value) : undecided;
    },
  };
}

function isOfField(field: LookupField, value: Any): boolean {
  const type = isTyped(value) ? value.type : typeof value;
  switch (field) {
    case 'messageId':
      return type === 'string' || type === 'uuid' || type === 'ulong' || Buffer.isBuffer(value);
    case 'groupId':
      return type === 'string';
    case 'groupSequence':
      return type === 'uint';
  }
}

// The last of the name; null: of none.
function findProperty(native: Buffer, name: HeaderName | null): Found {
  if (sections.applicationProperties < 0) return undefined;
  if (!openMap(native, sections.applicationProperties)) return undecided;
  const { end } = items;
  let { at } = items;
  let found = -1;
  for (let left = items.count; left > 0; left -= 2) {
    if (native[at] !== 0xa1) return undecided; // a short text
    const nameAt = at + 2;
    at = nameAt + native[at + 1]!;
    if (at >= end || mayBeOwn(native, nameAt, at) || !isSurelyWhole(native, at)) return undecided;
    if (name?.isAt(native, nameAt, at) === true) found = at;
    at = skipPlain(native, at, native.length);
    if (at > end) return undecided;
  }
  if (at !== end) return undecided;
  return found < 0 ? undefined : (new Decoder(native, found).read() as Value);
}

function openMap(native: Buffer, at: number): boolean {
  if (native[at] === 0xc1) {
    items.end = at + 2 + native[at + 1]!;
    items.count = native[at + 2]!;
    items.at = at + 3;
  } else {
    items.end = at + 5 + native.readUInt32BE(at + 1);
    items.count = native.readUInt32BE(at + 5);
    items.at = at + 9;
  }
  return items.count % 2 === 0 && items.at <= items.end;
}

// −1: the list is shorter; −2: undecided.
function findItem(native: Buffer, list: number, index: number): number {
  items.open(native, list);
  const { count, end } = items;
  let { at } = items;
  let found = -1;
  for (let i = 0; i < count; i++) {
    if (at >= end || !isSurelyWhole(native, at)) return -2;
    if (i === index) found = at;
    at = skipPlain(native, at, native.length);
  }
  return at === end ? found : -2;
}

// Of a form that any octets are a value of: no compound, no description, no character, no boolean in an octet.
function isSurelyWhole(native: Buffer, at: number): boolean {
  const form = native[at]!;
  switch (form >> 4) {
    case 0x4:
      return form <= 0x44;
    case 0x5:
      return form <= 0x55;
    case 0x6:
      return form <= 0x61;
    case 0x7:
      return form <= 0x72;
    case 0x8:
      return form <= 0x83;
    case 0x9:
      return form === 0x98;
    case 0xa:
    case 0xb:
      return (form & 15) <= 1 || (form & 15) === 3;
    default:
      return false;
  }
}
