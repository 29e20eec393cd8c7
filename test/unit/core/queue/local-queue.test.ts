import { describe } from 'vitest';
import { noHeaders } from '../../../../src/core/properties.ts';
import { queueSuite } from '../../../suites/queue.ts';
import { Core, createMessage } from '../../../support/core.ts';

describe.each([{ durable: false }, { durable: true }])('a local queue, durable: $durable', ({ durable }) => {
  queueSuite(() => {
    const { vhost, client } = new Core();
    const spec = { name: 'q', durable, autoDelete: false, exclusiveTo: null, arguments: noHeaders };
    const queue = vhost.declareQueue(client, spec);
    return {
      queue,
      client,
      publish(body, options = {}) {
        vhost.publish(vhost.routeFor('', 'q'), createMessage(body, { durable, ...options }), null, 0);
      },
    };
  });
});
