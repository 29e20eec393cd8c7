import { expect, test } from 'vitest';
import { runProgram } from './program.ts';

/** `npm run test:simulation` is the long mode. */
const programs = Number(process.env['PROGRAMS'] ?? 300);
const first = Number(process.env['SEED'] ?? 1);

test(`${programs} random programs do on the broker what they do on the model`, {
  timeout: 60_000 + programs * 500,
}, async () => {
  for (let seed = first; seed < first + programs; seed++) {
    expect(await runProgram(seed, 60), `seed ${seed}`).toBeNull();
  }
});
