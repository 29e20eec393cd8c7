import { emptyBuffer } from '../lib/bytes.ts';
import type { MessageFormat } from './format.ts';
import type { Message } from './message.ts';
import type { ReplyAliases } from './reply.ts';

const slots = 64;
/** Longer ones are rarely the same twice. */
const nativeBytesMax = 256;

class Memo {
  source: MessageFormat | null = null;
  target: MessageFormat | null = null;
  exchange = '';
  routingKey = '';
  durable = false;
  retain = false;
  priority = -1;
  qos = -1;
  /** Of a virtual host: in each, keys may be spelled otherwise. */
  replies: ReplyAliases | null = null;
  readonly native = Buffer.allocUnsafe(nativeBytesMax);
  nativeBytes = 0;
  translation: Buffer = emptyBuffer;
}

/**
 * The last translations, by all that a format's `encode` may read. Most publishers say the same beside the body with
 * every message, and comparing those few octets is 20 times cheaper than decoding and encoding them.
 */
export class TranslationMemo {
  private readonly memos = Array.from({ length: slots }, () => new Memo());

  /** @returns undefined when it has to be made */
  find(message: Message, target: MessageFormat): Buffer | undefined {
    if (!isRepeatable(message)) return undefined;
    const memo = this.memos[slotOf(message, target)]!;
    const { bytes, nativeStart } = message;
    const length = message.nativeEnd - nativeStart;
    if (
      memo.source !== message.format ||
      memo.target !== target ||
      memo.nativeBytes !== length ||
      memo.durable !== message.durable ||
      memo.retain !== message.retain ||
      memo.priority !== message.priority ||
      memo.qos !== message.qos ||
      memo.replies !== message.replies ||
      memo.routingKey !== message.routingKey ||
      memo.exchange !== message.exchange
    ) {
      return undefined;
    }
    const { native } = memo;
    for (let i = 0; i < length; i++) if (native[i] !== bytes[nativeStart + i]) return undefined;
    return memo.translation;
  }

  keep(message: Message, target: MessageFormat, translation: Buffer): void {
    if (!isRepeatable(message)) return;
    const memo = this.memos[slotOf(message, target)]!;
    memo.source = message.format;
    memo.target = target;
    memo.exchange = message.exchange;
    memo.routingKey = message.routingKey;
    memo.durable = message.durable;
    memo.retain = message.retain;
    memo.priority = message.priority;
    memo.qos = message.qos;
    memo.replies = message.replies;
    memo.nativeBytes = message.bytes.copy(memo.native, 0, message.nativeStart, message.nativeEnd);
    memo.translation = translation;
  }
}

// What expires or has died differs from message to message.
function isRepeatable(message: Message): boolean {
  return (
    message.expiresAtMs === 0 &&
    message.deaths.length === 0 &&
    message.nativeEnd - message.nativeStart <= nativeBytesMax
  );
}

function slotOf(message: Message, target: MessageFormat): number {
  const { nativeStart, nativeEnd, bytes } = message;
  let hash = message.format.id + target.id * 7 + (nativeEnd - nativeStart) * 3 + message.routingKey.length * 5;
  if (nativeEnd > nativeStart) hash += bytes[nativeEnd - 1]! * 11 + bytes[(nativeStart + nativeEnd) >> 1]! * 17;
  return hash & (slots - 1);
}
