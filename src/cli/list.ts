import { Api, apiOptions, jsonOption, path } from './api.ts';
import type { Command, Group } from './command.ts';
import { renderTable } from './table.ts';

/** Field of the API's answer (dots lead inside), and the column's head. */
type Column = readonly [field: string, head: string];

interface Listing {
  readonly name: string;
  readonly what: string;
  readonly columns: readonly Column[];
  /** The API's path for one virtual host; without: `NAME/VHOST`. null: they belong to none. */
  readonly ofVhost?: ((vhost: string) => string) | null;
}

const listings: readonly Listing[] = [
  {
    name: 'connections',
    what: 'open connections',
    columns: [
      ['name', 'name'],
      ['protocol', 'protocol'],
      ['user', 'user'],
      ['vhost', 'vhost'],
      ['state', 'state'],
      ['channels', 'channels'],
      ['recv_oct', 'in'],
      ['send_oct', 'out'],
    ],
    ofVhost: (vhost) => `vhosts/${path(vhost)}/connections`,
  },
  {
    name: 'channels',
    what: 'channels and sessions of the connections',
    columns: [
      ['name', 'name'],
      ['user', 'user'],
      ['vhost', 'vhost'],
      ['consumer_count', 'consumers'],
      ['messages_unacknowledged', 'unacked'],
      ['messages_unconfirmed', 'unconfirmed'],
      ['prefetch_count', 'prefetch'],
    ],
    ofVhost: (vhost) => `vhosts/${path(vhost)}/channels`,
  },
  {
    name: 'consumers',
    what: 'who takes messages from which queue',
    columns: [
      ['queue.name', 'queue'],
      ['queue.vhost', 'vhost'],
      ['consumer_tag', 'tag'],
      ['ack_required', 'acks'],
      ['prefetch_count', 'prefetch'],
      ['active', 'active'],
      ['channel_details.name', 'channel'],
    ],
  },
  {
    name: 'queues',
    what: 'queues and how many messages they have',
    columns: [
      ['name', 'name'],
      ['vhost', 'vhost'],
      ['messages_ready', 'ready'],
      ['messages_unacknowledged', 'unacked'],
      ['consumers', 'consumers'],
      ['durable', 'durable'],
      ['policy', 'policy'],
      ['state', 'state'],
    ],
  },
  {
    name: 'exchanges',
    what: 'exchanges',
    columns: [
      ['name', 'name'],
      ['vhost', 'vhost'],
      ['type', 'type'],
      ['durable', 'durable'],
      ['auto_delete', 'auto delete'],
      ['internal', 'internal'],
    ],
  },
  {
    name: 'bindings',
    what: 'what leads from exchanges to queues and exchanges',
    columns: [
      ['source', 'source'],
      ['destination', 'destination'],
      ['destination_type', 'type'],
      ['routing_key', 'routing key'],
      ['arguments', 'arguments'],
      ['vhost', 'vhost'],
    ],
  },
  {
    name: 'users',
    what: 'users',
    columns: [
      ['name', 'name'],
      ['tags', 'tags'],
    ],
    ofVhost: null,
  },
  {
    name: 'vhosts',
    what: 'virtual hosts',
    columns: [
      ['name', 'name'],
      ['description', 'description'],
      ['messages_ready', 'ready'],
      ['messages_unacknowledged', 'unacked'],
    ],
    ofVhost: null,
  },
  {
    name: 'permissions',
    what: 'what users may do, by patterns of names',
    columns: [
      ['user', 'user'],
      ['vhost', 'vhost'],
      ['configure', 'configure'],
      ['write', 'write'],
      ['read', 'read'],
    ],
    ofVhost: (vhost) => `vhosts/${path(vhost)}/permissions`,
  },
  {
    name: 'topic-permissions',
    what: 'what users may publish and get, by patterns of routing keys',
    columns: [
      ['user', 'user'],
      ['vhost', 'vhost'],
      ['exchange', 'exchange'],
      ['write', 'write'],
      ['read', 'read'],
    ],
    ofVhost: (vhost) => `vhosts/${path(vhost)}/topic-permissions`,
  },
  ...(['policies', 'operator-policies'] as const).map((name) => ({
    name,
    what: name === 'policies' ? 'policies' : 'what operators limit users’ queues to',
    columns: [
      ['name', 'name'],
      ['vhost', 'vhost'],
      ['pattern', 'pattern'],
      ['apply-to', 'applies to'],
      ['priority', 'priority'],
      ['definition', 'definition'],
    ] as const,
  })),
];

export const list: Group = {
  name: 'list',
  summary: 'List what there is: connections, queues, users, …',
  commands: listings.map(toCommand),
};

function toCommand({ name, what, columns, ofVhost }: Listing): Command {
  const vhostOption =
    ofVhost === null
      ? {}
      : ({ vhost: { type: 'string', short: 'V', value: 'NAME', help: 'of this virtual host alone' } } as const);
  return {
    name,
    summary: `List ${what}.`,
    options: { ...jsonOption, ...vhostOption, ...apiOptions },
    async run(call) {
      const api = await Api.of(call);
      const vhost = ofVhost === null ? undefined : call.text('vhost');
      const pathOfVhost = ofVhost ?? ((each: string) => `${name}/${path(each)}`);
      const rows = (await api.get(vhost === undefined ? name : pathOfVhost(vhost))) as object[];
      if (call.flag('json')) return call.terminal.say(`${JSON.stringify(rows, null, 2)}\n`);
      const heads = columns.map(([, head]) => head);
      const cells = rows.map((row) => columns.map(([field]) => show(find(row, field))));
      call.terminal.say(renderTable(heads, cells, call.terminal.width));
    },
  };
}

function find(row: object, field: string): unknown {
  let value: unknown = row;
  for (const part of field.split('.')) value = (value as Record<string, unknown> | null | undefined)?.[part];
  return value;
}

function show(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value)) return value.map(show).join(', ');
  if (typeof value === 'object') return Object.keys(value).length === 0 ? '' : JSON.stringify(value);
  return String(value);
}
