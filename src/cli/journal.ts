import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { backup as copy } from '../storage/backup.ts';
import { openDisk } from '../storage/disk.ts';
import { type ExportVisitor, type LogReport, inspect as read } from '../storage/inspect.ts';
import { salvage as rescue } from '../storage/salvage.ts';
import type { Damage } from '../storage/scan.ts';
import { jsonOption } from './api.ts';
import { type Call, type Command, CommandError, type Group } from './command.ts';
import { configOptions } from './start.ts';
import { renderTable } from './table.ts';

const inspect: Command = {
  name: 'inspect',
  summary: 'Show what the log holds, queue by queue and segment by segment, and what is damaged where.',
  details:
    'Reads the data directory and changes nothing; of a running broker the last unit may seem torn. Ends with 0, damaged or not: ' +
    'verify tells by its exit code.',
  options: { ...configOptions, ...jsonOption },
  async run(call) {
    const report = await readLog(call);
    if (call.flag('json')) return call.terminal.say(`${JSON.stringify(report)}\n`);
    const { segments, queues, kinds, damage } = report;
    const columns = ['file', 'bytes', 'units', 'messages', 'settlements', 'puts', 'deletions'] as const;
    const rows = segments.map((segment) => columns.map((column) => String(segment[column])));
    const show = (heads: readonly string[], body: readonly (readonly string[])[]): void =>
      call.terminal.say(`${renderTable(heads, body, call.terminal.width)}\n`);
    show(columns, rows);
    show(
      ['queue', 'vhost', 'number', 'messages', 'bytes'],
      queues.map(({ name, vhost, id, messages, bytes }) => [
        name ?? '(its declaration is not there)',
        vhost ?? '',
        String(id),
        String(messages),
        String(bytes),
      ]),
    );
    show(
      ['kind', 'keys'],
      Object.entries(kinds)
        .map(([kind, count]) => [kind, String(count)])
        .sort(byFirst),
    );
    call.terminal.say(damage.length === 0 ? 'the log is whole\n' : `${damage.map(describe).join('\n')}\n`);
  },
};

function byFirst([a]: readonly string[], [b]: readonly string[]): number {
  return a! < b! ? -1 : 1;
}

const verify: Command = {
  name: 'verify',
  summary: 'Check every octet of the log against its checksums.',
  details:
    'Ends with 0 when the log is whole, with 1 when it ends in a torn tail, which the next start cuts off, or is damaged: a line on ' +
    'standard error for each place.',
  options: configOptions,
  async run(call) {
    const { segments, damage } = await readLog(call);
    if (damage.length > 0) throw new CommandError(damage.map(describe).join('\n'));
    let units = 0;
    for (const segment of segments) units += segment.units;
    call.terminal.say(`the log is whole: ${segments.length} segments, ${units} units\n`);
  },
};

const exportRecords: Command = {
  name: 'export',
  summary: 'Print every record of the log that can be read, a JSON object a line.',
  details:
    'What is no text is written as base64. What lives is what is published and not settled by a later line; docs/storage.md says what ' +
    'the kinds and their keys are. Damage is a line of its own where it stands, and what can be read behind it follows. ' +
    'Ends with 1 when there is any.',
  options: configOptions,
  async run(call) {
    const say = (record: object): void => call.terminal.say(`${JSON.stringify(record)}\n`);
    const { damage } = await readLog(call, {
      published: (record) =>
        say({
          record: 'published',
          sequence: record.sequence,
          queues: record.queueIds,
          exchange: record.exchange,
          routingKey: record.routingKey,
          durable: record.durable,
          priority: record.priority,
          qos: record.qos,
          retain: record.retain,
          expiresAtMs: record.queueIds.map((_id, index) => record.expiryAt(index)),
          format: record.formatId,
          native: record.native.toString('base64'),
          body: record.body.toString('base64'),
          deaths: record.deaths,
        }),
      settled: (queue, sequence) => say({ record: 'settled', queue, sequence }),
      put: (kind, key, value) => say({ record: 'put', kind, key, ...shownValue(value) }),
      deleted: (kind, key) => say({ record: 'deleted', kind, key }),
      survivors: (part) => say({ record: 'survivors', ...part }),
      damage: ({ kind, ...place }) => say({ record: kind, ...place }),
    });
    if (damage.length > 0) throw new CommandError(damage.map(describe).join('\n'));
  },
};

const salvage: Command = {
  name: 'salvage',
  summary: 'Write all that can be read of a damaged log into a new data directory.',
  details:
    'The data directory is not changed; DIR is empty, or not there. What damage took is lost, and what it had taken away is there again: ' +
    'messages that were acknowledged may be delivered once more. Ends with 0 when the new directory can be started from. ' +
    'docs/operations.md has the whole recipe.',
  arguments: ['DIR'],
  options: configOptions,
  async run(call) {
    const source = await dataDirectory(call);
    const target = resolve(call.get(0));
    const { report, found } = await rescue(source, target).catch((error: Error) => {
      throw new CommandError(error.message);
    });
    for (const each of report.damage) call.terminal.say(`${describe(each)}\n`);
    for (const { id, name } of found) {
      const { messages } = report.queues.find((queue) => queue.id === id)!;
      call.terminal.say(
        `queue ${id} is declared nowhere: its ${count(messages, 'message')} came into '${name}' of '/'\n`,
      );
    }
    let messages = 0;
    for (const queue of report.queues) messages += queue.messages;
    let keys = 0;
    for (const each of Object.values(report.kinds)) keys += each;
    call.terminal.say(
      `wrote ${count(messages, 'message')} of ${count(report.queues.length, 'queue')} and ${count(keys, 'key')} to '${target}'\n`,
    );
  },
};

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`;
}

export const journal: Group = {
  name: 'journal',
  summary: 'Read the log of a broker that need not run.',
  commands: [inspect, verify, exportRecords, salvage],
};

export const backup: Command = {
  name: 'backup',
  summary: 'Copy a consistent state of the data directory, also while the broker runs.',
  details: 'All that was confirmed before it began is in the copy: start a broker with --data-dir DIR to use it.',
  arguments: ['DIR'],
  options: configOptions,
  async run(call) {
    const source = await dataDirectory(call);
    const target = resolve(call.get(0));
    const files = await copy(source, target).catch((error: Error) => {
      throw new CommandError(error.message);
    });
    call.terminal.say(`copied ${files.length} files from '${source}' to '${target}'\n`);
  },
};

async function readLog(call: Call, visitor: Partial<ExportVisitor> = {}): Promise<LogReport> {
  return read(await openDisk(await dataDirectory(call)), visitor);
}

async function dataDirectory(call: Call): Promise<string> {
  const { readConfig } = await import('../run.ts'); // the whole broker: only who needs its configuration loads it
  const flags = { config: call.text('config'), dataDir: call.text('data-dir'), set: call.list('set') };
  const directory = resolve(readConfig(flags).dataDir);
  if (!existsSync(directory)) throw new CommandError(`there is no data directory '${directory}'`);
  return directory;
}

function describe({ kind, file, offset, end, what }: Damage): string {
  const skipped = end > offset ? `, ${end - offset} octets skipped up to ${end}` : '';
  return `${file}: ${kind} at offset ${offset}${skipped}: ${what}`;
}

/** Most values are JSON, and are shown as that; others are octets. */
function shownValue(value: Buffer): object {
  try {
    return { value: JSON.parse(value.toString('utf8')) };
  } catch {
    return { octets: value.toString('base64') };
  }
}
