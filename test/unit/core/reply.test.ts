import { describe, expect, test } from 'vitest';
import { type ReplyAddress, ReplyAliases, readCorrelation, spellCorrelation } from '../../../src/core/reply.ts';
import { Core, createClient, ManualClock } from '../../support/core.ts';

const topic: ReplyAddress = { exchange: 'amq.topic', key: 'dev.7.resp', text: 'dev/7/resp', protocol: 'mqtt' };
const queue: ReplyAddress = { exchange: '', key: 'answers', text: 'answers', protocol: 'amqp-0-9-1' };

const lender = createClient(new Core().vhost);

function create(options: { aliasMax?: number; expiryMs?: number } = {}) {
  const clock = new ManualClock();
  const remembered = new Map<string, ReplyAddress>();
  let tokens = 0;
  const aliases = new ReplyAliases({
    clock,
    createToken: () => `t${++tokens}`,
    aliasMax: options.aliasMax ?? 100,
    expiryMs: options.expiryMs ?? 1000,
    house: {
      topicMapping: 'exact',
      mayLend: (client) => client === lender,
      outlivesRestart: ({ key }) => key === 'kept',
      remember: (token, address) => remembered.set(token, address),
      forget: (token) => remembered.delete(token),
    },
  });
  return { clock, aliases, remembered };
}

describe('reply aliases', () => {
  test('an address has one token, however often it is asked for', () => {
    const { aliases } = create();
    const token = aliases.tokenFor(topic, lender);
    expect(aliases.tokenFor({ ...topic }, lender)).toBe(token);
    expect(aliases.tokenFor(queue, lender)).not.toBe(token);
    expect(aliases.find(token)).toMatchObject(topic);
  });

  test('use renews a token, and without use it is forgotten', () => {
    const { clock, aliases } = create({ expiryMs: 1000 });
    const token = aliases.tokenFor(topic, lender);
    clock.advance(900);
    expect(aliases.find(token)).toMatchObject(topic);
    clock.advance(900);
    expect(aliases.find(token)).toMatchObject(topic);
    clock.advance(1001);
    expect(aliases.find(token)).toBeUndefined();
  });

  test('the table is bounded: the address longest not asked for goes first', () => {
    const { aliases } = create({ aliasMax: 2 });
    const first = aliases.tokenFor(topic, lender);
    const second = aliases.tokenFor(queue, lender);
    aliases.tokenFor(topic, lender);
    aliases.tokenFor({ ...queue, key: 'third', text: 'third' }, lender);
    expect(aliases.find(first)).toMatchObject(topic);
    expect(aliases.find(second)).toBeUndefined();
  });

  test('a name that is an alias is the address behind it; any other name is itself', () => {
    const { aliases } = create();
    const shown = aliases.aliasQueueFor(topic, lender);
    expect(aliases.resolve({ exchange: '', key: shown, text: shown, protocol: 'amqp-0-9-1' })).toMatchObject(topic);
    expect(aliases.resolve(queue)).toBe(queue);
  });
});

describe('what an alias permits', () => {
  test('is lent by a requester that could publish there itself, and by no other: they have tokens of their own', () => {
    const { aliases } = create();
    const lent = aliases.tokenFor(queue, lender);
    const bare = aliases.tokenFor(queue, null);
    expect(lent).not.toBe(bare);
    expect([aliases.find(lent)?.lent, aliases.find(bare)?.lent]).toEqual([true, false]);
  });

  test('goes on with who passes it on: what was lent to one is lent by it', () => {
    const { aliases } = create();
    const shown = aliases.aliasQueueFor(queue, lender);
    const behind = aliases.resolve({ exchange: '', key: shown, text: shown, protocol: 'stomp' });
    expect(aliases.aliasQueueFor(behind, null)).toBe(shown);
  });
});

describe('aliases of what outlives a restart', () => {
  const kept: ReplyAddress = { ...queue, key: 'kept', text: 'kept' };

  test('are remembered once, and until they are forgotten', () => {
    const { clock, aliases, remembered } = create();
    aliases.tokenFor(queue, lender);
    expect(remembered.size).toBe(0);
    const token = aliases.tokenFor(kept, lender);
    aliases.tokenFor(kept, lender);
    expect([...remembered]).toEqual([[token, { ...kept, lent: true }]]);
    clock.advance(5000);
    aliases.tokenFor(topic, lender);
    expect(remembered.size).toBe(0);
  });

  test('are restored with their tokens', () => {
    const { aliases } = create();
    aliases.restore('old', { ...kept, lent: true });
    expect(aliases.find('old')).toMatchObject(kept);
    expect(aliases.tokenFor(kept, lender)).toBe('old');
  });
});

test('a binary correlation comes back from the text that it travels as', () => {
  const octets = Buffer.from([0, 255, 254, 1]);
  expect(readCorrelation(spellCorrelation(octets))).toEqual(octets);
  expect(readCorrelation('plain')).toBeUndefined();
});
