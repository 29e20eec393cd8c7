import { deathHeaders, isDeathHeader } from '../../core/deaths.ts';
import { type MessageFormat, register } from '../../core/format.ts';
import type { Death, Message } from '../../core/message.ts';
import type { PlainForm } from '../../core/plain-message.ts';
import type { Properties } from '../../core/properties.ts';
import { keepRepeats, restoreRepeats } from '../../core/repeated-lines.ts';
import { hideReplyTopic, type ReplyAddress, showReplyTopic } from '../../core/reply.ts';
import { TextHeaders } from '../../core/text-headers.ts';
import { addType, spell } from '../../core/typed-text.ts';
import type { Spells } from '../../core/unspelled.ts';
import { decodeText } from '../../lib/bytes.ts';
import { OctetWriter } from '../../lib/octet-writer.ts';
import { findAddress } from './destination.ts';
import { createLookup } from './lookup.ts';
import { createPlain } from './plain.ts';
import { escapeName, escapeText, unescapeText, type Version } from './versions.ts';

/** Headers that frames have of their own: never copied from a SEND, and not a publisher's to set. */
export const ownHeaders = [
  'destination',
  'content-length',
  'receipt',
  'transaction',
  'message-id',
  'subscription',
  'ack',
  'redelivered',
] as const;

// What ActiveMQ's clients call a group; the plain names are understood too.
const fieldNames = {
  messageId: 'amqp-message-id',
  groupId: ['JMSXGroupID', 'x-group-id'],
  groupSequence: ['JMSXGroupSeq', 'x-group-sequence'],
} as const;

const textHeaders = new TextHeaders(fieldNames, [
  ...ownHeaders,
  'reply-to',
  'persistent',
  'expiration',
  'expires', // of a SEND it is an order: who has it as a header may have a time in it that is past
  'priority', // of a SEND it must be a number
]);

const lookup = createLookup(textHeaders);

const protocol = 'stomp';
const residuePart = 's';
const replyQueuePrefix = '/reply-queue/';

/**
 * Whether a SEND of ActiveMQ's dialect counted its body: `bytes` and `text` messages are two kinds there. The mark
 * is part of the format, so that the header lines stay the publisher's own.
 */
export type Mark = 'none' | 'text' | 'bytes';

/** `native` is the header lines of the SEND that are the message's own, each with its LF, escaped as they came. */
class StompFormat implements MessageFormat {
  readonly name: string;
  readonly id: number;
  readonly version: Version;
  readonly mark: Mark;
  readonly lookup = lookup;
  readonly plain?: PlainForm;

  constructor(version: Version, mark: Mark, id: number) {
    this.name = mark === 'none' ? `stomp-${version}` : `stomp-${version}-${mark}`;
    this.id = id;
    this.version = version;
    this.mark = mark;
    if (mark === 'none') this.plain = createPlain(textHeaders, version);
  }

  decode(native: Buffer, message: Message): Properties {
    const properties: Properties = { headers: new Map() };
    if (this.mark !== 'none') properties.textPayload = this.mark === 'text';
    const rest: [string, string][] = [];
    const lines = readLines(native, this.version);
    for (const [name, value] of lines) {
      if (name === 'persistent') properties.durable ??= isTrue(value);
      else if (name === 'expiration' && /^\d{1,15}$/.test(value)) properties.ttlMs ??= Number(value);
      else if (name === 'reply-to') properties.replyTo ??= readReplyTo(value, message);
      else rest.push([name, value]);
    }
    const repeats = textHeaders.decode(rest, properties, spellsIn[this.version]);
    if (properties.replyTo !== undefined) {
      const headers = new Map(properties.headers);
      hideReplyTopic(properties.replyTo, headers);
      properties.headers = headers;
    }
    if (repeats || lines.length > rest.length + 1) keepRepeats(lines, residuePart, properties);
    return properties;
  }

  encode(properties: Properties, message: Message): Buffer {
    const { format, deaths } = message;
    if (!(format instanceof StompFormat)) return writeLines(linesOf(properties, message, this.version), this.version);
    const lines = readLines(message.native, format.version);
    return writeLines(deaths.length === 0 ? lines : deadLines(lines, deaths), this.version);
  }

  replaceHeader(native: Buffer, name: string, value: string): Buffer {
    const lines = readLines(native, this.version).map((line): Line => (line[0] === name ? [name, value] : line));
    return writeLines(lines, this.version);
  }

  encodeDead(native: Buffer, deaths: readonly Death[]): Buffer {
    return writeLines(deadLines(readLines(native, this.version), deaths), this.version);
  }
}

function formatsOf(mark: Mark, firstId: number): Record<Version, MessageFormat> {
  return {
    '1.0': register(new StompFormat('1.0', mark, firstId)),
    '1.1': register(new StompFormat('1.1', mark, firstId + 1)),
    '1.2': register(new StompFormat('1.2', mark, firstId + 2)),
  };
}

export const formats: Record<Mark, Record<Version, MessageFormat>> = {
  none: formatsOf('none', 4),
  text: formatsOf('text', 20),
  bytes: formatsOf('bytes', 23),
};

/** The message's header lines in the words of `version`: the publisher's own octets if it spoke the same. */
export function nativeFor(message: Message, version: Version): Buffer {
  const { format } = message;
  if (format instanceof StompFormat && format.version === version) return message.as(format);
  return message.as(formats.none[version]);
}

/** False when `nativeFor` says less than the publisher did. */
export function isWholeFor(message: Message, version: Version): boolean {
  const { format } = message;
  if (format instanceof StompFormat && format.version === version) return message.isWholeAs(format);
  return message.isWholeAs(formats.none[version]);
}

/** Text, as far as the publisher said which: a SEND of ActiveMQ's dialect needs no decoding to tell. */
export function isText(message: Message): boolean {
  const { format } = message;
  return format instanceof StompFormat ? format.mark === 'text' : message.properties.textPayload === true;
}

type Line = readonly [name: string, value: string];

/** Lines of the message's own, in their order and with their repeats. */
export function readLines(native: Buffer, version: Version): Line[] {
  const lines: Line[] = [];
  for (const line of decodeText(native, 0, native.length).split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const value = line.slice(colon + 1);
    lines.push([
      unescapeText(line.slice(0, colon), version),
      unescapeText(version === '1.0' ? value.replace(/^ +/, '') : value, version),
    ]);
  }
  return lines;
}

function writeLines(lines: readonly Line[], version: Version): Buffer {
  out.begin();
  for (const [name, value] of lines) {
    if (name === '' || name.includes('\0')) continue; // no line: it is in the residue
    out.text(escapeName(name, version));
    out.u8(0x3a); // :
    out.text(escapeText(value, version));
    out.u8(0x0a);
  }
  return out.end();
}

const out = new OctetWriter();

// What a publisher wrote under the names of deaths was not the broker's, and its expiry is spent.
function deadLines(lines: readonly Line[], deaths: readonly Death[]): Line[] {
  let kept = lines.filter(([name]) => !isDeathHeader(name) && name !== 'expiration' && name !== 'expires');
  const shown = deathHeaders(deaths).map(([name, value]): Line => {
    const { text, letter } = spell(value);
    if (letter !== '') kept = addType(kept, name, letter);
    return [name, text];
  });
  return [...shown, ...kept];
}

function linesOf(properties: Properties, message: Message, version: Version): readonly Line[] {
  const { replyTo } = properties;
  let { headers } = properties;
  if (replyTo !== undefined && message.replies !== null) {
    const shown = new Map(headers);
    showReplyTopic(replyTo, shown);
    headers = shown;
  }
  const said = headers === properties.headers ? properties : { ...properties, headers };
  const lines: Line[] = textHeaders.encode(said, spellsIn[version]);
  if (properties.replyTo !== undefined) lines.push(['reply-to', showReplyTo(properties.replyTo, message)]);
  if (properties.durable !== undefined) lines.push(['persistent', String(properties.durable)]);
  if (properties.ttlMs !== undefined) lines.push(['expiration', String(properties.ttlMs)]);
  return restoreRepeats(lines, residuePart, message.deaths);
}

/**
 * What a version's lines can say as it is [STOMP 1.2 §Value Encoding], and under a name of at least one octet
 * [§Augmented BNF]; octets that are no UTF-8 go out as they came.
 */
const spellsIn: Record<Version, Spells> = {
  '1.0': (name, text) => /^[^:\r\n\0]+$/.test(name) && !/^ |[\r\n\0]/.test(text),
  '1.1': (name, text) => /^[^\r\0]+$/.test(name) && !/[\r\0]/.test(text),
  '1.2': (name, text) => name !== '' && !name.includes('\0') && !text.includes('\0'),
};

export function isTrue(text: string | undefined): boolean {
  return text === 'true' || text === 'True';
}

function readReplyTo(text: string, message: Message): ReplyAddress {
  const address = { ...(findAddress(text) ?? { exchange: '', key: text }), text, protocol };
  return message.replies?.resolve(address) ?? address;
}

function showReplyTo(address: ReplyAddress, message: Message): string {
  if (address.protocol === protocol || message.replies === null) return address.text;
  return replyQueuePrefix + message.replies.aliasQueueFor(address, message.publisher);
}
