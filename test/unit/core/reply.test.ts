import { describe, expect, test } from 'vitest';
import { type ReplyAddress, ReplyAliases, readCorrelation, spellCorrelation } from '../../../src/core/reply.ts';
import { ManualClock } from '../../support/core.ts';

const topic: ReplyAddress = { exchange: 'amq.topic', key: 'dev.7.resp', text: 'dev/7/resp', protocol: 'mqtt' };
const queue: ReplyAddress = { exchange: '', key: 'answers', text: 'answers', protocol: 'amqp-0-9-1' };

function create(options: { aliasMax?: number; expiryMs?: number } = {}) {
  const clock = new ManualClock();
  let tokens = 0;
  const aliases = new ReplyAliases({
    clock,
    createToken: () => `t${++tokens}`,
    aliasMax: options.aliasMax ?? 100,
    expiryMs: options.expiryMs ?? 1000,
  });
  return { clock, aliases };
}

describe('reply aliases', () => {
  test('an address has one token, however often it is asked for', () => {
    const { aliases } = create();
    const token = aliases.tokenFor(topic);
    expect(aliases.tokenFor({ ...topic })).toBe(token);
    expect(aliases.tokenFor(queue)).not.toBe(token);
    expect(aliases.find(token)).toEqual(topic);
  });

  test('use renews a token, and without use it is forgotten', () => {
    const { clock, aliases } = create({ expiryMs: 1000 });
    const token = aliases.tokenFor(topic);
    clock.advance(900);
    expect(aliases.find(token)).toEqual(topic);
    clock.advance(900);
    expect(aliases.find(token)).toEqual(topic);
    clock.advance(1001);
    expect(aliases.find(token)).toBeUndefined();
  });

  test('the table is bounded: the address longest not asked for goes first', () => {
    const { aliases } = create({ aliasMax: 2 });
    const first = aliases.tokenFor(topic);
    const second = aliases.tokenFor(queue);
    aliases.tokenFor(topic);
    aliases.tokenFor({ ...queue, key: 'third', text: 'third' });
    expect(aliases.find(first)).toEqual(topic);
    expect(aliases.find(second)).toBeUndefined();
  });

  test('a name that is an alias is the address behind it; any other name is itself', () => {
    const { aliases } = create();
    const shown = aliases.aliasQueueFor(topic);
    expect(aliases.resolve({ exchange: '', key: shown, text: shown, protocol: 'amqp-0-9-1' })).toEqual(topic);
    expect(aliases.resolve(queue)).toBe(queue);
  });
});

test('a binary correlation comes back from the text that it travels as', () => {
  const octets = Buffer.from([0, 255, 254, 1]);
  expect(readCorrelation(spellCorrelation(octets))).toEqual(octets);
  expect(readCorrelation('plain')).toBeUndefined();
});
