import { type MessageFormat, register } from '../../core/format.ts';
import type { Message } from '../../core/message.ts';
import type { Properties } from '../../core/properties.ts';
import type { ReplyAddress } from '../../core/reply.ts';
import { TextHeaders } from '../../core/text-headers.ts';
import { decodeText, encodeText } from '../../lib/bytes.ts';
import { findDestination } from './destination.ts';
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

const textHeaders = new TextHeaders({ messageId: 'amqp-message-id' }, [
  ...ownHeaders,
  'reply-to',
  'persistent',
  'expiration',
  'expires',
]);

/** `native` is the header lines of the SEND that are the message's own, each with its LF, escaped as they came. */
function stompFormat(version: Version, id: number): MessageFormat {
  return register({
    name: `stomp-${version}`,
    id,
    decode: (native: Buffer, message: Message) => decodeLines(native, message, version),
    encode: (properties: Properties, message: Message) => encodeLines(properties, message, version),
  });
}

export const formatOf: Record<Version, MessageFormat> = {
  '1.0': stompFormat('1.0', 4),
  '1.1': stompFormat('1.1', 5),
  '1.2': stompFormat('1.2', 6),
};

function versionOf(format: MessageFormat): Version | undefined {
  return (Object.keys(formatOf) as Version[]).find((version) => formatOf[version] === format);
}

function readLines(native: Buffer, version: Version): [name: string, value: string][] {
  const lines: [string, string][] = [];
  for (const line of decodeText(native, 0, native.length).split('\n')) {
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    lines.push([unescapeText(line.slice(0, colon), version), unescapeText(line.slice(colon + 1), version)]);
  }
  return lines;
}

function decodeLines(native: Buffer, message: Message, version: Version): Properties {
  const properties: Properties = { headers: new Map() };
  const rest: [string, string][] = [];
  for (const [name, value] of readLines(native, version)) {
    if (name === 'persistent') properties.durable ??= value === 'true';
    else if (name === 'expiration' && /^\d{1,15}$/.test(value)) properties.ttlMs ??= Number(value);
    else if (name === 'reply-to') properties.replyTo ??= readReplyTo(value, message);
    else if (name !== 'expires') rest.push([name, value]);
  }
  textHeaders.decode(rest, properties);
  return properties;
}

function encodeLines(properties: Properties, message: Message, version: Version): Buffer {
  const from = versionOf(message.format);
  const lines = from === undefined ? linesOf(properties, message) : readLines(message.native, from);
  return encodeText(
    lines.map(([name, value]) => `${escapeName(name, version)}:${escapeText(value, version)}\n`).join(''),
  );
}

function linesOf(properties: Properties, message: Message): [name: string, value: string][] {
  const lines = textHeaders.encode(properties);
  if (properties.replyTo !== undefined) lines.push(['reply-to', showReplyTo(properties.replyTo, message)]);
  if (properties.durable !== undefined) lines.push(['persistent', String(properties.durable)]);
  if (properties.ttlMs !== undefined) lines.push(['expiration', String(properties.ttlMs)]);
  return lines;
}

const protocol = 'stomp';
const replyQueuePrefix = '/reply-queue/';

function readReplyTo(text: string, message: Message): ReplyAddress {
  const address = { ...addressOf(text), text, protocol };
  return message.replies?.resolve(address) ?? address;
}

function addressOf(text: string): { exchange: string; key: string } {
  if (text.startsWith(replyQueuePrefix)) return { exchange: '', key: text.slice(replyQueuePrefix.length) };
  const destination = findDestination(text);
  if (destination === undefined) return { exchange: '', key: text };
  return destination.kind === 'queue' ? { exchange: '', key: destination.name } : destination;
}

function showReplyTo(address: ReplyAddress, message: Message): string {
  if (address.protocol === protocol || message.replies === null) return address.text;
  return replyQueuePrefix + message.replies.aliasQueueFor(address);
}
