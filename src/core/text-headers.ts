import { noteLoss } from './losses.ts';
import { PlainPlace } from './plain-message.ts';
import { type Headers, isId, noHeaders, type Properties, type TypedValue, type Value } from './properties.ts';
import { readCorrelation, spellCorrelation } from './reply.ts';
import { residueHeader } from './residue.ts';
import { read, readTypes, spell, spellType, typesHeader } from './typed-text.ts';
import { isTextField, keepHeaders, restoreHeaders, type Spells, UnspelledFields } from './unspelled.ts';

/**
 * Properties as lines of text, for protocols whose headers carry nothing else. Fields that the protocol has a place
 * of its own for are left to it; the others get the plain names below, and a publisher's header of such a name
 * travels as `x-rosetta-h.<name>`.
 */
const plainNames = {
  contentType: 'content-type',
  contentEncoding: 'content-encoding',
  textPayload: 'x-mqtt-payload-format',
  correlationId: 'correlation-id',
  messageId: 'message-id',
  priority: 'priority',
  timestampMs: 'timestamp',
  userId: 'user-id',
  appId: 'app-id',
  type: 'type',
  subject: 'x-subject',
  to: 'x-to',
  groupId: 'x-group-id',
  groupSequence: 'x-group-sequence',
  replyToGroupId: 'x-reply-to-group-id',
} as const satisfies Partial<Record<keyof Properties, string>>;

type Field = keyof typeof plainNames;

const plainPlaces: Partial<Record<Field, PlainPlace>> = {
  contentType: PlainPlace.contentType,
  contentEncoding: PlainPlace.contentEncoding,
  correlationId: PlainPlace.correlationId,
  messageId: PlainPlace.messageId,
  priority: PlainPlace.priority,
  timestampMs: PlainPlace.timestamp,
  appId: PlainPlace.appId,
  type: PlainPlace.type,
};

/** In front of a publisher's header whose name is taken where it arrives. */
export const escapePrefix = 'x-rosetta-h.';

/**
 * A text protocol's names for fields: another name, or null where it has a place of its own. A further name that is
 * read, but not written, counts when the first is not there.
 */
export type FieldNames = Partial<Record<Field, string | readonly [written: string, read: string] | null>>;

export class TextHeaders {
  private readonly nameOf = new Map<Field, string>();
  private readonly fieldOf = new Map<string, Field>();
  private readonly reserved: ReadonlySet<string>;
  /** Of the last `encode`: false when some lines cannot be written, and are in the residue. */
  spelledAll = true;

  /** @param reserved names that the protocol itself uses: a publisher's header of such a name is escaped */
  constructor(names: FieldNames, reserved: readonly string[] = []) {
    for (const [field, plain] of Object.entries(plainNames) as [Field, string][]) {
      const own = names[field] === undefined ? plain : names[field];
      if (own === null) continue;
      const [name, other] = typeof own === 'string' ? [own] : own;
      this.nameOf.set(field, name);
      this.fieldOf.set(name, field);
      if (other !== undefined) this.fieldOf.set(other, field);
    }
    this.reserved = new Set([...reserved, typesHeader]);
  }

  /** Headers that `spells` refuses travel in the residue. */
  encode(properties: Properties, spells: Spells, fields = new UnspelledFields()): [name: string, text: string][] {
    const lines: [string, string][] = [];
    const types: string[] = [];
    for (const [field, name] of this.nameOf) {
      const value = properties[field];
      if (value === undefined) continue;
      if (field === 'correlationId' && typeof value === 'object' && properties.replyTo !== undefined) {
        lines.push([name, spellCorrelation(value)]);
      } else if (field === 'correlationId' || field === 'messageId') {
        this.add(lines, types, name, value as string | Buffer | TypedValue);
        if (!spells(name, lines.at(-1)![1])) noteLoss(field);
      } else if (spells(name, String(value))) lines.push([name, String(value)]);
      else if (isTextField(field)) fields.add(field, String(value));
      else noteLoss(field);
    }
    this.spelledAll = fields.empty;
    const unspelled = new Map<string, Value>();
    for (const [name, value] of properties.headers) {
      // most of them: text under a name of the application's own
      if (typeof value === 'string' && this.isPlain(name) && isPlainText(value) && spells(name, value)) {
        lines.push([name, value]);
        continue;
      }
      const line = this.isFreeText(name, value, properties) ? name : this.lineNameOf(name);
      const { text, letter } = spell(value);
      lines.push([line, text]);
      if (!spells(line, text)) unspelled.set(name, value);
      else if (letter !== '') types.push(spellType(line, letter));
    }
    if (unspelled.size > 0) this.spelledAll = false;
    if (unspelled.size > 0 || !fields.empty) addUnspelled(lines, properties.headers, unspelled, fields);
    if (types.length > 0) lines.push([typesHeader, types.join(',')]);
    return lines;
  }

  /** True if a line of the name is a header of the same name. */
  isPlain(name: string): boolean {
    return !name.startsWith('x-rosetta-') && !this.fieldOf.has(name) && !this.reserved.has(name);
  }

  /** The same of a line that may be a field; its repeats, and fields that say more than their text, are refused. */
  placeOf(name: string): PlainPlace {
    const field = this.fieldOf.get(name);
    if (field === undefined) return this.isPlain(name) ? PlainPlace.header : PlainPlace.refused;
    return this.nameOf.get(field) === name ? (plainPlaces[field] ?? PlainPlace.refused) : PlainPlace.refused;
  }

  private lineNameOf(header: string): string {
    return this.isTaken(header) ? escapePrefix + header : header;
  }

  private isTaken(header: string): boolean {
    if (header.startsWith(escapePrefix)) return this.isTaken(header.slice(escapePrefix.length));
    return this.fieldOf.has(header) || this.reserved.has(header);
  }

  // Of a field's name, but no value of it: it is read as a header again, unless the protocol insists on a value.
  private isFreeText(header: string, value: Value, properties: Properties): boolean {
    const field = this.fieldOf.get(header);
    if (field === undefined || this.reserved.has(header)) return false;
    if (properties[field] !== undefined || typeof value !== 'string') return false;
    return !setField({ headers: noHeaders }, field, value, value);
  }

  private headerOf(line: string): string {
    const inner = line.startsWith(escapePrefix) ? line.slice(escapePrefix.length) : line;
    return this.isTaken(inner) ? inner : line;
  }

  private add(lines: [string, string][], types: string[], name: string, value: Value): void {
    const { text, letter } = spell(value);
    lines.push([name, text]);
    if (letter !== '') types.push(spellType(name, letter));
  }

  /**
   * The inverse; of a name that repeats the first counts, and `headers` gets what is no field.
   * @returns true when a name repeats
   */
  decode(lines: readonly (readonly [name: string, text: string])[], properties: Properties, spells: Spells): boolean {
    const plain = this.decodePlain(lines, properties.headers);
    if (plain !== undefined) {
      properties.headers = plain;
      return false;
    }
    const texts = new Map<string, string>();
    for (const [name, text] of lines) if (!texts.has(name)) texts.set(name, text);
    const types = readTypes(texts.get(typesHeader) ?? '');
    const headers = new Map(properties.headers);
    for (const [name, text] of texts) {
      if (name === typesHeader) continue;
      const field = this.fieldOf.get(name);
      const value = read(text, types.get(name) ?? '');
      if (field !== undefined && this.counts(name, field, texts) && setField(properties, field, text, value)) continue;
      headers.set(this.headerOf(name), value);
    }
    UnspelledFields.restore(headers, properties, (text) => spells('n', text)); // under whichever name
    restoreHeaders(headers, (name, text) => spells(this.lineNameOf(name), text));
    properties.headers = headers;
    return texts.size < lines.length;
  }

  private counts(name: string, field: Field, texts: ReadonlyMap<string, string>): boolean {
    const first = this.nameOf.get(field)!;
    return name === first || !texts.has(first);
  }

  // Most messages: lines of the application's own, each of another name. Undefined for any other.
  private decodePlain(lines: readonly (readonly [name: string, text: string])[], own: Headers): Headers | undefined {
    const headers = new Map<string, Value>();
    for (const [name, value] of own) headers.set(name, value);
    for (const [name, text] of lines) {
      if (!this.isPlain(name)) return undefined;
      headers.set(name, text);
    }
    return headers.size === own.size + lines.length ? headers : undefined;
  }
}

// As `spell` finds it: the text is the value.
function isPlainText(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function addUnspelled(lines: [string, string][], own: Headers, unspelled: Headers, fields: UnspelledFields): void {
  const headers = new Map(own);
  fields.keep(headers);
  keepHeaders(headers, unspelled);
  const residue = headers.get(residueHeader);
  if (typeof residue !== 'string' || residue === own.get(residueHeader)) return;
  const at = lines.findIndex(([name]) => name === residueHeader);
  if (at < 0) lines.push([residueHeader, residue]);
  else lines[at] = [residueHeader, residue];
}

// False when the text is not of the field's kind: then it is a header like any other.
function setField(properties: Properties, field: Field, text: string, value: Value): boolean {
  switch (field) {
    case 'priority':
      if (!/^\d{1,3}$/.test(text) || Number(text) > 255) return false;
      properties.priority = Number(text);
      return true;
    case 'timestampMs':
      if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(Number(text))) return false;
      properties.timestampMs = Number(text);
      return true;
    case 'groupSequence':
      if (!/^\d{1,10}$/.test(text) || Number(text) > 0xffff_ffff) return false;
      properties.groupSequence = Number(text);
      return true;
    case 'textPayload':
      if (text !== 'true' && text !== 'false') return false;
      properties.textPayload = text === 'true';
      return true;
    case 'correlationId':
      properties.correlationId = value === text ? (readCorrelation(text) ?? text) : isId(value) ? value : text;
      return true;
    case 'messageId':
      properties.messageId = isId(value) ? value : text;
      return true;
    default:
      properties[field] = text;
      return true;
  }
}
