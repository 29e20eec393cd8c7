import { expect, test } from 'vitest';
import { soak } from '../../bench/soak/soak.ts';
import { BrokerProcess } from '../support/broker-process.ts';

// `npm run test:soak` is the long one, and compares memory and disk too.
test('under load in all protocols, while queues, sessions and consumers come and go, nothing is lost', async () => {
  const broker = await BrokerProcess.start();
  try {
    const { lost, rounds } = await soak(broker, {
      peakSeconds: 1,
      share: 0.1,
      warmupSeconds: 1,
      seconds: 5,
      windowSeconds: 1,
      tell() {},
    });
    expect(lost).toBe(0);
    expect(rounds).toBeGreaterThan(0);
  } finally {
    await broker.remove();
  }
});
