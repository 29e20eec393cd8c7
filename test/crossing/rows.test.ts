import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Value } from '../../src/core/properties.ts';
import { symbol, uint } from '../../src/protocols/amqp10/types.ts';
import { methods } from '../../src/protocols/amqp091/spec.ts';
import { AmqpPeer } from '../support/amqp-peer.ts';
import { section } from '../support/amqp10-peer.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { type Heard, type Name, names, openers, type Script, type Words } from '../support/scripts.ts';

/**
 * Each row of the mapping's table of fields, through sockets: what a publisher of each protocol says, and what a
 * consumer of each hears of it, word for word and nothing beside it.
 */
interface Case {
  /** In each protocol's words; a protocol that is left out cannot say it. */
  readonly says: Partial<Record<Name, Words>>;
  /** What is heard where that is not what the protocol's own publishers say, by the publisher's protocol. */
  readonly hears?: Partial<Record<Name, Words | ((from: Name) => Words | undefined)>>;
  readonly body?: Buffer;
  /** Of the body as others than its publisher's protocol hear it. */
  readonly otherBody?: Buffer;
  /** Where it is published; where all listen, if it is not said. */
  readonly topic?: string;
}

const topic = 'rows.all';
const json = 'application/json';
const octets = Buffer.from([0, 255, 128]);
const uuid = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const longText = 'é'.repeat(150);
const timestampMs = 1_700_000_000_123;

const elsewhere = (self: Name, hears: (from: Name) => Words) => (from: Name) =>
  from === self ? undefined : hears(from);
const isMqtt = (name: Name) => name === 'M5' || name === 'M3';
const within = (low: number, high: number) => expect.toSatisfy((value: number) => value >= low && value <= high);
const uintWithin = (low: number, high: number) => ({ type: 'uint', value: within(low, high) });
const alias = (prefix: string) => expect.stringMatching(new RegExp(`^${prefix}[\\w-]{16,}$`));

/** Headers of 0-9-1, application properties, user properties and header lines of one text. */
const header = (name: string, value: string): Case['says'] => ({
  '091': { headers: { [name]: value } },
  '1.0': { application: { [name]: value } },
  M5: { userProperties: { [name]: value } },
  ST: { [name]: value },
});

const rows: Readonly<Record<string, Record<string, Case>>> = {
  body: {
    octets: { says: { '091': {}, '1.0': {}, M5: {}, M3: {}, ST: {} }, body: Buffer.from([0, 1, 0xff, 0x0a, 0]) },
    'nothing at all': { says: { '091': {}, '1.0': {}, M5: {}, M3: {}, ST: {} }, body: Buffer.alloc(0) },
    'a value of AMQP 1.0': {
      says: { '1.0': { value: 'text' } },
      hears: {
        '091': { content_type: 'message/vnd.rosettamq.amqp-value' },
        M5: { contentType: 'message/vnd.rosettamq.amqp-value' },
        ST: { 'content-type': 'message/vnd.rosettamq.amqp-value' },
      },
      body: Buffer.alloc(0),
      otherBody: section(0x77, 'text'),
    },
  },
  'content type': {
    text: {
      says: {
        '091': { content_type: json },
        '1.0': { 'content-type': symbol(json) },
        M5: { contentType: json },
        ST: { 'content-type': json },
      },
    },
  },
  'content encoding': {
    text: {
      says: {
        '091': { content_encoding: 'gzip' },
        '1.0': { 'content-encoding': symbol('gzip') },
        M5: { userProperties: { 'content-encoding': 'gzip' } },
        ST: { 'content-encoding': 'gzip' },
      },
    },
  },
  'text or bytes': Object.fromEntries(
    [true, false].map((isText) => [
      isText ? 'text' : 'bytes',
      {
        says: {
          '091': { headers: { 'x-mqtt-payload-format': isText } },
          '1.0': { annotations: { 'x-opt-mqtt-payload-format': isText } },
          M5: { payloadFormatIndicator: isText },
          ST: { 'x-mqtt-payload-format': String(isText) },
        },
      },
    ]),
  ),
  correlation: {
    text: {
      says: {
        '091': { correlation_id: 'c-1' },
        '1.0': { 'correlation-id': 'c-1' },
        M5: { correlationData: Buffer.from('c-1') },
        ST: { 'correlation-id': 'c-1' },
      },
    },
    octets: {
      says: {
        '091': { headers: { 'x-correlation-id': octets } },
        '1.0': { 'correlation-id': octets },
        M5: { correlationData: octets },
        ST: { 'correlation-id': octets.toString('base64'), 'x-rosetta-types': 'correlation-id=b64' },
      },
    },
    'a uuid': {
      says: {
        '091': { headers: { 'x-correlation-id': uuid, 'x-rosetta-types': 'x-correlation-id=U' } },
        '1.0': { 'correlation-id': { type: 'uuid', value: uuid } },
        M5: { correlationData: uuid, userProperties: { 'x-rosetta-types': 'correlation-data=U' } },
        ST: { 'correlation-id': uuid.toString('hex'), 'x-rosetta-types': 'correlation-id=U' },
      },
    },
    'text over 255 octets': {
      says: {
        '091': { headers: { 'x-correlation-id': longText } },
        '1.0': { 'correlation-id': longText },
        M5: { correlationData: Buffer.from(longText) },
        ST: { 'correlation-id': longText },
      },
    },
  },
  'message id': {
    text: {
      says: {
        '091': { message_id: 'm-1' },
        '1.0': { 'message-id': 'm-1' },
        M5: { userProperties: { 'message-id': 'm-1' } },
        ST: { 'amqp-message-id': 'm-1' },
      },
    },
    'an unsigned long': {
      says: {
        '091': { headers: { 'x-message-id': { '!': 'long', value: 7 }, 'x-rosetta-types': 'x-message-id=L' } },
        '1.0': { 'message-id': { type: 'ulong', value: 7n } },
        M5: { userProperties: { 'message-id': '7', 'x-rosetta-types': 'message-id=L' } },
        ST: { 'amqp-message-id': '7', 'x-rosetta-types': 'amqp-message-id=L' },
      },
      hears: { '091': { headers: { 'x-message-id': 7, 'x-rosetta-types': 'x-message-id=L' } } },
    },
  },
  'reply address': {
    'an address of its own': {
      says: {
        '091': { reply_to: 'answers' },
        '1.0': { 'reply-to': '/queues/answers' },
        M5: { responseTopic: 'answers/here' },
        ST: { 'reply-to': '/queue/answers' },
      },
      hears: {
        '091': elsewhere('091', (from) => ({
          reply_to: alias('rosetta.reply.'),
          ...(from === 'M5' ? { headers: { 'x-reply-to-topic': 'answers.here' } } : {}),
        })),
        '1.0': elsewhere('1.0', () => ({ 'reply-to': alias('/queues/rosetta.reply.') })),
        M5: elsewhere('M5', () => ({ responseTopic: alias('\\$reply/') })),
        ST: elsewhere('ST', (from) => ({
          'reply-to': alias('/reply-queue/rosetta.reply.'),
          ...(from === 'M5' ? { 'x-reply-to-topic': 'answers.here' } : {}),
        })),
      },
    },
    'a routing key in the header of RabbitMQ': {
      says: {
        '091': { headers: { 'x-reply-to-topic': 'answers.here' } },
        ST: { 'x-reply-to-topic': 'answers.here' },
      },
      hears: {
        '1.0': { application: { 'x-reply-to-topic': 'answers.here' } },
        M5: { responseTopic: 'answers/here', userProperties: { 'x-reply-to-topic': 'answers.here' } },
      },
    },
  },
  priority: {
    seven: {
      says: {
        '091': { priority: 7 },
        '1.0': { priority: { type: 'ubyte', value: 7 } },
        M5: { userProperties: { priority: '7' } },
        ST: { priority: '7' },
      },
    },
  },
  durable: {
    yes: {
      says: {
        '091': { delivery_mode: 2 },
        '1.0': { durable: true },
        M5: { qos: 1 },
        M3: { qos: 1 },
        ST: { persistent: 'true' },
      },
    },
    no: {
      says: {
        '091': { delivery_mode: 1 },
        '1.0': { durable: false },
        M5: { qos: 0 },
        M3: { qos: 0 },
        ST: { persistent: 'false' },
      },
      hears: {
        // of AMQP and STOMP the subscription's QoS
        M5: (from) => ({ qos: isMqtt(from) ? 0 : 1 }),
        M3: (from) => ({ qos: isMqtt(from) ? 0 : 1 }),
      },
    },
  },
  'time to live': {
    'a minute': {
      says: {
        '091': { expiration: '60000' },
        '1.0': { ttl: uint(60_000) },
        M5: { messageExpiryInterval: 60 },
        ST: { expiration: '60000' },
      },
      hears: {
        '1.0': () => ({ ttl: uintWithin(50_000, 60_000) }),
        M5: () => ({ messageExpiryInterval: within(50, 60) }),
      },
    },
  },
  timestamp: {
    seconds: {
      says: {
        '091': { timestamp: 1_700_000_000 },
        '1.0': { 'creation-time': { type: 'timestamp', value: 1_700_000_000_000n } },
        M5: { userProperties: { timestamp: '1700000000000' } },
        ST: { timestamp: '1700000000000' },
      },
    },
    milliseconds: {
      says: {
        '091': { timestamp: 1_700_000_000, headers: { timestamp_in_ms: timestampMs } },
        '1.0': { 'creation-time': { type: 'timestamp', value: BigInt(timestampMs) } },
        M5: { userProperties: { timestamp: String(timestampMs) } },
        ST: { timestamp: String(timestampMs) },
      },
    },
  },
  'user id': {
    "the connection's": {
      says: {
        '091': { user_id: 'guest' },
        '1.0': { 'user-id': Buffer.from('guest') },
        M5: { userProperties: { 'user-id': 'guest' } },
        ST: { 'user-id': 'guest' },
      },
    },
    "somebody else's": {
      // MQTT has no user id: its subscribers get the property as it came, and nobody takes it for one
      says: { M5: { userProperties: { 'user-id': 'admin' } } },
    },
  },
  'application id': {
    text: {
      says: {
        '091': { app_id: 'shop' },
        '1.0': { annotations: { 'x-opt-app-id': 'shop' } },
        M5: { userProperties: { 'app-id': 'shop' } },
        ST: { 'app-id': 'shop' },
      },
    },
  },
  type: {
    text: {
      says: {
        '091': { type: 'order' },
        '1.0': { annotations: { 'x-opt-type': 'order' } },
        M5: { userProperties: { type: 'order' } },
        ST: { type: 'order' },
      },
    },
  },
  'subject, to, groups': {
    'all of them': {
      says: {
        '091': {
          headers: {
            'x-subject': 'news',
            'x-to': `/exchanges/amq.topic/${topic}`,
            'x-group-id': 'g',
            'x-reply-to-group-id': 'r',
            'x-group-sequence': { '!': 'uint32', value: 5 },
          },
        },
        '1.0': {
          subject: 'news',
          to: `/exchanges/amq.topic/${topic}`,
          'group-id': 'g',
          'group-sequence': uint(5),
          'reply-to-group-id': 'r',
        },
        M5: {
          userProperties: {
            'x-subject': 'news',
            'x-to': `/exchanges/amq.topic/${topic}`,
            'x-group-id': 'g',
            'x-group-sequence': '5',
            'x-reply-to-group-id': 'r',
          },
        },
        ST: {
          'x-subject': 'news',
          'x-to': `/exchanges/amq.topic/${topic}`,
          'x-group-id': 'g',
          'x-group-sequence': '5',
          'x-reply-to-group-id': 'r',
        },
      },
      hears: {
        '091': {
          headers: {
            'x-subject': 'news',
            'x-to': `/exchanges/amq.topic/${topic}`,
            'x-group-id': 'g',
            'x-reply-to-group-id': 'r',
            'x-group-sequence': 5,
          },
        },
        ST: elsewhere('ST', () => ({
          'x-subject': 'news',
          'x-to': `/exchanges/amq.topic/${topic}`,
          JMSXGroupID: 'g',
          JMSXGroupSeq: '5',
          'x-reply-to-group-id': 'r',
        })),
      },
    },
    'the group as JMS calls it': {
      says: { ST: { JMSXGroupID: 'g', JMSXGroupSeq: '5' } },
      hears: {
        '091': { headers: { 'x-group-id': 'g', 'x-group-sequence': 5 } },
        '1.0': { 'group-id': 'g', 'group-sequence': uint(5) },
        M5: { userProperties: { 'x-group-id': 'g', 'x-group-sequence': '5' } },
      },
    },
    'both names of a group, of which that of JMS counts': {
      says: { ST: { 'x-group-id': 'a', JMSXGroupID: 'b' } },
      hears: {
        '091': { headers: { 'x-group-id': 'b', 'x-rosetta-h.x-group-id': 'a' } },
        '1.0': { 'group-id': 'b', application: { 'x-group-id': 'a' } },
        M5: { userProperties: { 'x-group-id': 'b', 'x-rosetta-h.x-group-id': 'a' } },
      },
    },
    'a sequence number that is none, which closes the group': {
      says: { ST: { JMSXGroupID: 'g', JMSXGroupSeq: '-1' } },
      hears: {
        '091': { headers: { 'x-group-id': 'g', JMSXGroupSeq: '-1' } },
        '1.0': { 'group-id': 'g', application: { JMSXGroupSeq: '-1' } },
        M5: { userProperties: { 'x-group-id': 'g', JMSXGroupSeq: '-1' } },
      },
    },
  },
  headers: {
    text: { says: header('note', 'é: a\nb') },
    'no text at all': { says: header('note', '') },
    'a name that is a property elsewhere': {
      says: {
        '091': { headers: { priority: '7' } },
        '1.0': { application: { priority: '7' } },
        M5: { userProperties: { 'x-rosetta-h.priority': '7' } },
        ST: { 'x-rosetta-h.priority': '7' },
      },
    },
    'a name that a frame has of its own': {
      says: {
        '091': { headers: { 'message-id': 'mine' } },
        '1.0': { application: { 'message-id': 'mine' } },
        M5: { userProperties: { 'x-rosetta-h.message-id': 'mine' } },
      },
      hears: { ST: { 'x-rosetta-h.message-id': 'mine' } },
    },
    'types of 0-9-1': {
      says: {
        '091': {
          headers: {
            n: { '!': 'int64', value: 5 },
            ok: true,
            half: 0.5,
            none: null,
            blob: octets,
            when: { '!': 'timestamp', value: 1_700_000_000 },
            list: [1, 'two'],
            obj: { a: 'b' },
          },
        },
      },
      hears: {
        '091': {
          headers: {
            n: 5,
            ok: true,
            half: 0.5,
            none: null,
            blob: octets,
            when: { '!': 'timestamp', value: 1_700_000_000 },
            list: [1, 'two'],
            obj: { a: 'b' },
          },
        },
        '1.0': {
          application: {
            n: { type: 'long', value: 5n },
            ok: true,
            half: { type: 'double', value: 0.5 },
            none: null,
            blob: octets,
            when: { type: 'timestamp', value: 1_700_000_000_000n },
            list: '[1,"two"]',
            obj: '{"a":"b"}',
            'x-rosetta-types': 'list=json(b.-),obj=json',
          },
        },
        ...inText({
          n: '5',
          ok: 'true',
          half: '0.5',
          none: '',
          blob: octets.toString('base64'),
          when: '1700000000000',
          list: '[1,"two"]',
          obj: '{"a":"b"}',
          'x-rosetta-types': 'n=l,ok=t,half=d,none=V,blob=b64,when=T,list=json(b.-),obj=json',
        }),
      },
    },
    'types that 0-9-1 lacks': {
      says: {
        '1.0': {
          application: {
            big: { type: 'ulong', value: 5n },
            letter: { type: 'char', value: 'ä' },
            sign: symbol('s'),
            id: { type: 'uuid', value: uuid },
            when: { type: 'timestamp', value: 1_700_000_000_123n },
          },
        },
      },
      hears: {
        '091': {
          headers: {
            big: 5,
            letter: 'ä',
            sign: 's',
            id: uuid,
            when: 1_700_000_000_123,
            'x-rosetta-types': 'big=L,letter=c,sign=y,id=U,when=T',
          },
        },
        ...inText({
          big: '5',
          letter: 'ä',
          sign: 's',
          id: uuid.toString('hex'),
          when: '1700000000123',
          'x-rosetta-types': 'big=L,letter=c,sign=y,id=U,when=T',
        }),
      },
    },
  },
  'annotations, footer': {
    'an annotation': {
      says: {
        '091': { headers: { 'x-opt-mine': 'a' } },
        '1.0': { annotations: { 'x-opt-mine': 'a' } },
        M5: { userProperties: { 'x-opt-mine': 'a' } },
        ST: { 'x-opt-mine': 'a' },
      },
    },
    'one of another name': {
      says: {
        '091': { headers: { 'x-opt-rosetta.x-mine': 'a' } },
        '1.0': { annotations: { 'x-mine': 'a' } },
        M5: { userProperties: { 'x-opt-rosetta.x-mine': 'a' } },
        ST: { 'x-opt-rosetta.x-mine': 'a' },
      },
    },
    'a footer and delivery annotations': {
      says: { '1.0': { footer: { 'x-crc': uint(7) }, 'delivery-annotations': { 'x-hop': true } } },
      hears: {
        '091': { headers: { 'x-rosetta-residue': expect.stringMatching(/^a[\w-]+$/) } },
        ...inText({ 'x-rosetta-residue': expect.stringMatching(/^a[\w-]+$/) }),
      },
    },
  },
  deaths: {
    'of a full queue': {
      says: { '091': {}, '1.0': {}, M5: {}, M3: {}, ST: {} },
      topic: 'rows.dying',
      hears: {
        '091': () => ({
          headers: {
            'x-death': [
              {
                count: 1,
                reason: 'expired',
                queue: 'rows-dying',
                time: { '!': 'timestamp', value: expect.any(Number) },
                exchange: 'amq.topic',
                'routing-keys': ['rows.dying'],
              },
            ],
            'x-first-death-exchange': 'amq.topic',
            'x-first-death-queue': 'rows-dying',
            'x-first-death-reason': 'expired',
            'x-last-death-exchange': 'amq.topic',
            'x-last-death-queue': 'rows-dying',
            'x-last-death-reason': 'expired',
          },
        }),
        '1.0': () => ({
          annotations: {
            'x-opt-deaths': expect.anything(),
            'x-first-death-queue': 'rows-dying',
            'x-first-death-reason': 'expired',
            'x-first-death-exchange': 'amq.topic',
            'x-last-death-queue': 'rows-dying',
            'x-last-death-reason': 'expired',
            'x-last-death-exchange': 'amq.topic',
          },
        }),
        M5: () => ({ userProperties: deathLines() }),
        ST: () => deathLines(),
      },
    },
  },
  retained: {
    'as published': {
      says: {
        '091': { headers: { 'x-mqtt-retain': true } },
        '1.0': { annotations: { 'x-opt-mqtt-retain': true } },
        M5: { retain: true },
        M3: { retain: true },
        ST: { 'x-mqtt-retain': 'true' },
      },
      hears: {
        // what is no text says so; RETAIN is MQTT's own word between its clients
        M5: (from) =>
          isMqtt(from)
            ? { retain: true }
            : {
                userProperties: {
                  'x-mqtt-retain': 'true',
                  ...(from === 'ST' ? {} : { 'x-rosetta-types': 'x-mqtt-retain=t' }),
                },
              },
        M3: () => ({}),
        '091': (from) => ({ headers: { 'x-mqtt-retain': from === 'ST' ? 'true' : true } }),
        '1.0': (from) => ({ annotations: { 'x-opt-mqtt-retain': from === 'ST' ? 'true' : true } }),
        ST: (from) => ({ 'x-mqtt-retain': 'true', ...(from === 'ST' ? {} : { 'x-rosetta-types': 'x-mqtt-retain=t' }) }),
      },
    },
  },
  'client id of MQTT': {
    'as a header': {
      says: {
        '091': { headers: { 'x-mqtt-client-id': 'd-1' } },
        '1.0': { annotations: { 'x-opt-mqtt-client-id': 'd-1' } },
        M5: { userProperties: { 'x-mqtt-client-id': 'd-1' } },
        ST: { 'x-mqtt-client-id': 'd-1' },
      },
    },
  },
};

function inText(lines: Record<string, unknown>): { M5: Words; ST: Words } {
  return { M5: { userProperties: lines }, ST: lines };
}

function deathLines(): Words {
  return {
    'x-death': expect.stringMatching(
      /^\[\{"count":1,"reason":"expired","queue":"rows-dying","time":\d+,"exchange":"amq.topic","routing-keys":\["rows.dying"\]\}\]$/,
    ),
    'x-first-death-exchange': 'amq.topic',
    'x-first-death-queue': 'rows-dying',
    'x-first-death-reason': 'expired',
    'x-last-death-exchange': 'amq.topic',
    'x-last-death-queue': 'rows-dying',
    'x-last-death-reason': 'expired',
    'x-rosetta-types': 'x-death=json(l.-.-.T.-.-)',
  };
}

/** How durable a message is says each protocol with every message: that is a row of its own. */
const durability = ['delivery_mode', 'durable', 'persistent', 'qos'];

function wordsOf(words: Words, row: string): Words {
  const kept = Object.entries(words).filter(([name, value]) => {
    if (name === 'retain' && value === false) return false;
    return durability.includes(name) === (row === 'durable');
  });
  return Object.fromEntries(kept);
}

function expected({ says, hears }: Case, from: Name, to: Name): Words {
  const otherwise = hears?.[to];
  return (typeof otherwise === 'function' ? otherwise(from) : otherwise) ?? says[to] ?? {};
}

let broker: BrokerProcess;
const scripts = new Map<Name, Script>();

beforeAll(async () => {
  broker = await BrokerProcess.start();
  const peer = await AmqpPeer.openChannel(broker.port('amqp'));
  await peer.declare('rows-dying', {
    arguments: new Map<string, Value>([
      ['x-message-ttl', { type: 'int', value: 0 }],
      ['x-dead-letter-exchange', 'amq.topic'],
      ['x-dead-letter-routing-key', topic],
    ]),
  });
  const binding = { queue: 'rows-dying', exchange: 'amq.topic', routingKey: 'rows.dying' };
  await peer.call(1, methods.queueBind, binding, methods.queueBindOk);
  peer.destroy();
  for (const name of names) scripts.set(name, await openers[name](broker, topic));
});

afterAll(async () => {
  for (const script of scripts.values()) script.close();
  await broker?.remove();
});

function rowsOfTable(): string[] {
  const page = readFileSync(new URL('../../docs/protocol-mapping.md', import.meta.url), 'utf8');
  const table = page.split('## Fields')[1]!.split('\n\n')[1]!;
  return table
    .split('\n')
    .slice(2)
    .map((line) => line.split('|')[1]!.trim());
}

test('every row of the table is tested, and every test has its row', () => {
  expect(rowsOfTable()).toEqual(Object.keys(rows));
});

/** What all five hear of what one of them said. */
async function publish(
  { says, topic: to = topic, body = Buffer.from('body') }: Case,
  from: Name,
): Promise<Map<Name, Heard>> {
  await scripts.get(from)!.publish(to, says[from]!, body);
  const heard = new Map<Name, Heard>();
  for (const [name, script] of scripts) heard.set(name, await script.next());
  return heard;
}

for (const [row, cases] of Object.entries(rows)) {
  describe(row, () => {
    for (const [title, given] of Object.entries(cases)) {
      for (const from of Object.keys(given.says) as Name[]) {
        test(`${title}: ${from} to each`, async () => {
          const heard = await publish(given, from);
          for (const [to, { words, body }] of heard) {
            expect.soft(wordsOf(words, row), `${from} → ${to}`).toEqual(wordsOf(expected(given, from, to), row));
            const wanted = (from === to ? undefined : given.otherBody) ?? given.body ?? Buffer.from('body');
            expect.soft(body, `${from} → ${to}`).toEqual(wanted);
          }
        });
      }
    }
  });
}
