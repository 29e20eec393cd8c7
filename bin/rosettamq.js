#!/usr/bin/env node
// The command `rosettamq` for whatever Node it is called with: this file is read by old ones too. The program is
// TypeScript that Node 24 runs as it is; an older Node hands over to the pinned 24 that npm installed.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const wantedMajor = 24;
const program = new URL('../src/cli.ts', import.meta.url);

if (Number(process.versions.node.split('.')[0]) >= wantedMajor) await import(program.href);
else handOver(findPinned());

function findPinned() {
  try {
    const manifest = createRequire(import.meta.url).resolve(`node-${process.platform}-${process.arch}/package.json`);
    return join(dirname(manifest), 'bin', 'node');
  } catch {
    process.stderr.write(`rosettamq: Node ${wantedMajor} is needed, this is ${process.versions.node}\n`);
    process.exit(1);
  }
}

function handOver(node) {
  // The channel tells the child when this process dies without a word.
  const child = spawn(node, [fileURLToPath(program), ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    process.stderr.write(`rosettamq: ${error.message}\n`);
    process.exit(1);
  });
  child.on('exit', (code, signal) => {
    process.exitCode = code ?? 128 + (signal === 'SIGTERM' ? 15 : signal === 'SIGINT' ? 2 : 9);
    if (child.connected) child.disconnect();
    process.exit();
  });
}
