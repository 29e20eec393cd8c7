import { Api, apiOptions, jsonOption, path, vhostOf, vhostOption } from './api.ts';
import type { Command, Group } from './command.ts';
import { renderTable } from './table.ts';

/** How often a message comes after its first time. */
export interface Repetition {
  readonly cron: string | null;
  readonly period: number | null;
  readonly repeat: number;
}

interface Row extends Repetition {
  readonly id: number;
  readonly exchange: string;
  readonly routing_key: string;
  readonly due_at: string;
  readonly payload_bytes: number;
}

const list: Command = {
  name: 'list',
  summary: 'List the messages that wait for their time, the earliest first.',
  options: {
    exchange: { type: 'string', value: 'NAME', help: 'of this exchange alone; amq.default is the default exchange' },
    queue: { type: 'string', value: 'NAME', help: 'those that this queue would get, as things are now' },
    limit: { type: 'string', value: 'NUMBER', help: 'how many at most (500)' },
    ...jsonOption,
    ...vhostOption,
    ...apiOptions,
  },
  async run(call) {
    const api = await Api.of(call);
    const query = new URLSearchParams();
    const queue = call.text('queue');
    const limit = call.integer('limit');
    if (queue !== undefined) query.set('queue', queue);
    if (limit !== undefined) query.set('limit', String(limit));
    const exchange = call.text('exchange');
    const of = exchange === undefined ? path(vhostOf(call)) : `${path(vhostOf(call))}/exchange/${path(exchange)}`;
    const rows = (await api.get(`scheduled/${of}?${query}`)) as readonly Row[];
    if (call.flag('json')) return call.terminal.say(`${JSON.stringify(rows, null, 2)}\n`);
    const heads = ['id', 'due', 'exchange', 'routing key', 'again', 'bytes'];
    const cells = rows.map((row) => [
      String(row.id),
      row.due_at,
      row.exchange,
      row.routing_key,
      again(row),
      String(row.payload_bytes),
    ]);
    call.terminal.say(renderTable(heads, cells, call.terminal.width));
  },
};

/** In short; empty when it comes once. */
export function again({ cron, period, repeat }: Repetition): string {
  const series = period === null || repeat === 0 ? '' : `${repeat < 0 ? 'always' : `${repeat}×`} ${period} ms`;
  return [cron ?? '', series].filter((part) => part !== '').join(', ');
}

const cancel: Command = {
  name: 'cancel',
  summary: 'Drop messages that wait for their time, by their ids.',
  arguments: ['ID…'],
  options: { ...vhostOption, ...apiOptions },
  async run(call) {
    const api = await Api.of(call);
    for (const id of call.rest(0)) {
      await api.delete(`scheduled/${path(vhostOf(call), id)}`);
      call.terminal.say(`message ${id} is cancelled\n`);
    }
  },
};

export const scheduled: Group = {
  name: 'scheduled',
  summary: 'List and cancel messages that wait for their time.',
  commands: [list, cancel],
};
