import type { Properties, TypedValue, Value } from './properties.ts';
import { readCorrelation, spellCorrelation } from './reply.ts';
import { read, readTypes, spell, spellType, typesHeader } from './typed-text.ts';

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

const escapePrefix = 'x-rosetta-h.';

/** A text protocol's names for fields: another name, or null where it has a place of its own. */
export type FieldNames = Partial<Record<Field, string | null>>;

export class TextHeaders {
  private readonly nameOf = new Map<Field, string>();
  private readonly fieldOf = new Map<string, Field>();
  private readonly reserved: ReadonlySet<string>;

  /** @param reserved names that the protocol itself uses: a publisher's header of such a name is escaped */
  constructor(names: FieldNames, reserved: readonly string[] = []) {
    for (const [field, plain] of Object.entries(plainNames) as [Field, string][]) {
      const name = names[field] === undefined ? plain : names[field];
      if (name === null) continue;
      this.nameOf.set(field, name);
      this.fieldOf.set(name, field);
    }
    this.reserved = new Set([...reserved, typesHeader]);
  }

  encode(properties: Properties): [name: string, text: string][] {
    const lines: [string, string][] = [];
    const types: string[] = [];
    for (const [field, name] of this.nameOf) {
      const value = properties[field];
      if (value === undefined) continue;
      if (field === 'correlationId' && typeof value === 'object' && properties.replyTo !== undefined) {
        lines.push([name, spellCorrelation(value)]);
      } else if (field === 'correlationId' || field === 'messageId') {
        this.add(lines, types, name, value as string | Buffer | TypedValue);
      } else lines.push([name, String(value)]);
    }
    for (const [name, value] of properties.headers) {
      const taken = this.fieldOf.has(name) || this.reserved.has(name) || name.startsWith(escapePrefix);
      this.add(lines, types, taken ? escapePrefix + name : name, value);
    }
    if (types.length > 0) lines.push([typesHeader, types.join(',')]);
    return lines;
  }

  private add(lines: [string, string][], types: string[], name: string, value: Value): void {
    const { text, letter } = spell(value);
    lines.push([name, text]);
    if (letter !== '') types.push(spellType(name, letter));
  }

  /** The inverse; of a name that repeats the first counts, and `headers` gets what is no field. */
  decode(lines: Iterable<readonly [name: string, text: string]>, properties: Properties): void {
    const texts = new Map<string, string>();
    for (const [name, text] of lines) if (!texts.has(name)) texts.set(name, text);
    const types = readTypes(texts.get(typesHeader) ?? '');
    const headers = new Map(properties.headers);
    for (const [name, text] of texts) {
      if (name === typesHeader) continue;
      const field = this.fieldOf.get(name);
      const value = read(text, types.get(name) ?? '');
      if (field !== undefined && setField(properties, field, text, value)) continue;
      headers.set(name.startsWith(escapePrefix) ? name.slice(escapePrefix.length) : name, value);
    }
    properties.headers = headers;
  }
}

// False when the text is not of the field's kind: then it is a header like any other.
function setField(properties: Properties, field: Field, text: string, value: Value): boolean {
  switch (field) {
    case 'priority':
      if (!/^\d{1,3}$/.test(text) || Number(text) > 255) return false;
      properties.priority = Number(text);
      return true;
    case 'timestampMs':
      if (!/^\d{1,15}$/.test(text)) return false;
      properties.timestampMs = Number(text);
      return true;
    case 'groupSequence':
      if (!/^\d{1,10}$/.test(text)) return false;
      properties.groupSequence = Number(text);
      return true;
    case 'textPayload':
      if (text !== 'true' && text !== 'false') return false;
      properties.textPayload = text === 'true';
      return true;
    case 'correlationId':
      properties.correlationId =
        typeof value === 'object' ? (value as Buffer | TypedValue) : (readCorrelation(text) ?? text);
      return true;
    case 'messageId':
      properties.messageId = (typeof value === 'object' ? value : text) as string | Buffer | TypedValue;
      return true;
    default:
      properties[field] = text;
      return true;
  }
}
