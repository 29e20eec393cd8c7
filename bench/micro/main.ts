import { countAllocations } from './allocations.ts';
import { paths } from './paths.ts';

process.stdout.write('octets allocated a message                heap  buffers\n');
for (const { name, scenario } of paths) {
  const { heapBytes, bufferBytes } = await countAllocations(scenario);
  process.stdout.write(
    `${name.padEnd(40)} ${heapBytes.toFixed(0).padStart(5)}  ${bufferBytes.toFixed(0).padStart(7)}\n`,
  );
}
