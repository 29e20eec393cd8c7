import { noteLoss } from './losses.ts';
import type { Headers, Properties, Value } from './properties.ts';
import { addJson, takeJson } from './residue.ts';
import { read, spell } from './typed-text.ts';

/** Whether a protocol can write a header of this name with this text. */
export type Spells = (name: string, text: string) => boolean;

/** Headers that a protocol cannot spell, in the residue, by name: `[[name, text, letter of its type]]`. */
export function keepHeaders(headers: Map<string, Value>, unspelled: Headers): void {
  if (unspelled.size === 0) return;
  const items = [...unspelled].map(([name, value]) => {
    const { text, letter } = spell(value);
    return letter === '' ? [name, text] : [name, text, letter];
  });
  // Those that were spelled on the way come last otherwise: the same headers are to look the same again.
  items.sort(([a], [b]) => (a! < b! ? -1 : 1));
  if (!addJson(headers, 'k', items)) noteLoss('headers');
}

/** The inverse; a sender that could have written the header itself has none in its residue. */
export function restoreHeaders(headers: Map<string, Value>, spells: Spells): void {
  const items = takeJson(headers, 'k');
  if (!Array.isArray(items)) return;
  for (const item of items) {
    if (!Array.isArray(item)) continue;
    const [name, text, letter = ''] = item as unknown[];
    if (typeof name !== 'string' || typeof text !== 'string' || typeof letter !== 'string') continue;
    // what is said in clear is not said otherwise
    if (!headers.has(name) && !spells(name, text)) headers.set(name, read(text, letter));
  }
}

/** Fields of free text; a user id is checked when it is published, which a residue is not. */
const textFields = [
  ...(['contentType', 'contentEncoding', 'type', 'appId', 'subject', 'to', 'groupId', 'replyToGroupId'] as const),
  ...(['messageId', 'correlationId'] as const),
] as const;
type TextField = (typeof textFields)[number];

/** Those that may be of another type have none here then: their spelling says it. */
export function isTextField(field: keyof Properties): field is TextField {
  return (textFields as readonly string[]).includes(field);
}

/** Texts of fields that a protocol has a place for, but cannot spell there. */
export class UnspelledFields {
  private readonly fields: Partial<Record<TextField, string>> = {};
  empty = true;

  add(field: TextField, text: string): void {
    this.fields[field] = text;
    this.empty = false;
  }

  keep(headers: Map<string, Value>): void {
    if (this.empty || addJson(headers, 'f', this.fields)) return;
    for (const field of Object.keys(this.fields)) noteLoss(field);
  }

  static restore(headers: Map<string, Value>, properties: Properties, spells: (text: string) => boolean): void {
    const fields = takeJson(headers, 'f');
    if (typeof fields !== 'object' || fields === null) return;
    for (const field of textFields) {
      const text = (fields as Partial<Record<TextField, unknown>>)[field];
      if (typeof text === 'string' && properties[field] === undefined && !spells(text)) properties[field] = text;
    }
  }
}
