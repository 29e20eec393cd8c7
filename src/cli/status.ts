import { Api, apiOptions, jsonOption } from './api.ts';
import type { Command } from './command.ts';

interface Overview {
  readonly product_name: string;
  readonly product_version: string;
  readonly node: string;
  readonly listeners: readonly { protocol: string; ip_address: string; port: number }[];
  readonly object_totals: Readonly<Record<string, number>>;
  readonly queue_totals: { messages: number; messages_ready: number; messages_unacknowledged: number };
}

interface Node {
  readonly uptime: number;
  readonly mem_used: number;
  readonly mem_limit: number;
  readonly mem_alarm: boolean;
  readonly disk_free: number;
  readonly disk_free_alarm: boolean;
}

export const status: Command = {
  name: 'status',
  summary: 'Show how the broker is.',
  options: { ...apiOptions, ...jsonOption },
  async run(call) {
    const api = await Api.of(call);
    const overview = (await api.get('overview')) as Overview;
    const node = ((await api.get('nodes')) as Node[])[0]!;
    if (call.flag('json')) return call.terminal.say(`${JSON.stringify({ overview, nodes: [node] }, null, 2)}\n`);
    const { object_totals: objects, queue_totals: queues } = overview;
    const alarms = [node.mem_alarm ? 'memory' : '', node.disk_free_alarm ? 'disk' : ''].filter((each) => each !== '');
    const rows = [
      ['version', `${overview.product_name} ${overview.product_version}`],
      ['node', overview.node],
      ['up', showDuration(node.uptime)],
      ['memory', `${showBytes(node.mem_used)} of ${showBytes(node.mem_limit)}`],
      ['disk free', showBytes(node.disk_free)],
      ['alarms', alarms.length === 0 ? 'none' : alarms.join(', ')],
      ['messages', `${queues.messages_ready} ready, ${queues.messages_unacknowledged} unacknowledged`],
      ...Object.entries(objects).map(([name, count]) => [name, String(count)]),
      ...overview.listeners.map(({ protocol, ip_address, port }) => [`port ${port}`, `${protocol} on ${ip_address}`]),
    ];
    const width = Math.max(...rows.map(([name]) => name!.length));
    for (const [name, value] of rows) call.terminal.say(`${name!.padEnd(width)}  ${value}\n`);
  },
};

function showBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let rest = bytes;
  for (; rest >= 1024 && unit < units.length - 1; unit++) rest /= 1024;
  return `${unit === 0 ? rest : rest.toFixed(1)} ${units[unit]}`;
}

function showDuration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const parts = [
    [Math.floor(seconds / 86_400), 'd'],
    [Math.floor(seconds / 3600) % 24, 'h'],
    [Math.floor(seconds / 60) % 60, 'min'],
    [seconds % 60, 's'],
  ] as const;
  const first = Math.max(
    0,
    parts.findIndex(([count]) => count > 0),
  );
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(' ');
}
