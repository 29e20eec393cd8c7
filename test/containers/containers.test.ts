import { GenericContainer, getContainerRuntimeClient, type StartedTestContainer, Wait } from 'testcontainers';
import { afterAll, beforeAll, describe } from 'vitest';
import { amqpSuite, type Endpoint, mqttSuite, stompSuite } from '../suites/interop.ts';

const startTimeoutMs = 600_000;

async function findEngine(): Promise<boolean> {
  try {
    await getContainerRuntimeClient();
    return true;
  } catch {
    return false;
  }
}

const engine = await findEngine();
if (!engine) {
  process.stdout.write('test/containers: not run, no container engine answers; test/interop runs the same bodies\n');
}

function describeContainer(
  title: string,
  start: () => Promise<StartedTestContainer>,
  suites: (endpoint: (port: number) => () => Endpoint) => void,
  login = 'guest',
): void {
  describe.skipIf(!engine)(engine ? title : `${title}: not run, no container engine answers`, () => {
    let container: StartedTestContainer;
    beforeAll(async () => {
      container = await start();
    }, startTimeoutMs);
    afterAll(async () => {
      await container?.stop();
    });
    suites((port) => () => ({
      host: container.getHost(),
      port: container.getMappedPort(port),
      user: login,
      password: login,
    }));
  });
}

describeContainer(
  'the built image',
  async () => {
    const image = await GenericContainer.fromDockerfile('.').build();
    return image
      .withEnvironment({ ROSETTAMQ_USERS_GUEST_LOOPBACK_ONLY: 'false' })
      .withExposedPorts(5672, 1883, 61_613)
      .withWaitStrategy(Wait.forLogMessage(/ready in \d+ ms/))
      .start();
  },
  (endpoint) => {
    amqpSuite(endpoint(5672));
    mqttSuite(endpoint(1883));
    stompSuite(endpoint(61_613));
  },
);

describeContainer(
  'RabbitMQ',
  () =>
    new GenericContainer('rabbitmq:4')
      .withExposedPorts(5672)
      .withWaitStrategy(Wait.forLogMessage(/Server startup complete/))
      .start(),
  (endpoint) => amqpSuite(endpoint(5672)),
);

describeContainer(
  'Mosquitto',
  () =>
    new GenericContainer('eclipse-mosquitto:2')
      .withCommand(['mosquitto', '-c', '/mosquitto-no-auth.conf'])
      .withExposedPorts(1883)
      .withWaitStrategy(Wait.forLogMessage(/mosquitto version .* running/))
      .start(),
  (endpoint) => mqttSuite(endpoint(1883)),
);

describeContainer(
  'ActiveMQ Artemis',
  () =>
    new GenericContainer('apache/activemq-artemis:latest-alpine')
      .withEnvironment({ ARTEMIS_USER: 'guest', ARTEMIS_PASSWORD: 'guest' })
      .withExposedPorts(61_613)
      .withWaitStrategy(Wait.forLogMessage(/Server is now (live|active)/))
      .start(),
  (endpoint) => stompSuite(endpoint(61_613)),
);
