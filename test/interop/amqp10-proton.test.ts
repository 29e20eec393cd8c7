import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BrokerProcess } from '../support/broker-process.ts';

/** Qpid Proton's Python binding, as Debian packages it: the codec and state machines behind most of the other clients. */
const python = '/usr/bin/python3';
const hasProton = spawnSync(python, ['-c', 'import proton']).status === 0;

let broker: BrokerProcess;
beforeAll(async () => {
  broker = await BrokerProcess.start();
});
afterAll(() => broker?.remove());

/** Runs a program of Proton's blocking API; what it prints is the result, as JSON. */
async function run(program: string): Promise<unknown> {
  const script = `
import json
from proton import Message, symbol, ulong, Terminus, int32
from proton.reactor import AtMostOnce, AtLeastOnce, DynamicNodeProperties, DurableSubscription, Selector, Copy
from proton.utils import BlockingConnection, SendException, LinkDetached
connection = BlockingConnection('amqp://guest:guest@127.0.0.1:${broker.port('amqp')}', timeout=20, allowed_mechs='PLAIN')
${program}
connection.close()
`;
  const { stdout } = await promisify(execFile)(python, ['-c', script], { timeout: 40_000 });
  return JSON.parse(stdout);
}

/** Runs a handler of Proton's reactor, `Handler`, which says in `log` what it saw, and closes its connection. */
async function react(handler: string): Promise<unknown> {
  const script = `
import json
from proton import Message
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import Container, DurableSubscription
log = []
def connect(container, **options):
    return container.connect('127.0.0.1:${broker.port('amqp')}', user='guest', password='guest', allowed_mechs='PLAIN', reconnect=False, **options)
${handler}
Container(Handler()).run()
print(json.dumps(log))
`;
  const { stdout } = await promisify(execFile)(python, ['-c', script], { timeout: 40_000 });
  return JSON.parse(stdout);
}

describe.skipIf(!hasProton)('Qpid Proton (skipped where python3-qpid-proton is not installed)', () => {
  test('a message comes back with its properties', async () => {
    const got = await run(`
receiver = connection.create_receiver('proton-basic', credit=10)
sender = connection.create_sender('proton-basic')
sender.send(Message(id='m-1', subject='news', correlation_id=ulong(5), body={'a': [1, True]}, durable=True, priority=7,
                    content_type='text/plain', properties={'n': int32(5), 'text': 'é'}))
m = receiver.receive()
receiver.accept()
print(json.dumps([m.id, m.subject, m.correlation_id, m.body, m.durable, m.priority, m.content_type, m.properties, m.annotations[symbol('x-routing-key')]]))
`);
    expect(got).toEqual([
      'm-1',
      'news',
      5,
      { a: [1, true] },
      true,
      7,
      'text/plain',
      { n: 5, text: 'é' },
      'proton-basic',
    ]);
  });

  test('a thousand messages, and a body of a megabyte', async () => {
    const got = await run(`
receiver = connection.create_receiver('proton-many', credit=50)
sender = connection.create_sender('proton-many')
for i in range(1000): sender.send(Message(body=i))
numbers = []
for i in range(1000):
    numbers.append(receiver.receive().body)
    receiver.accept()
sender.send(Message(body=b'r' * 1048576))
large = receiver.receive().body
receiver.accept()
print(json.dumps([numbers == list(range(1000)), len(large)]))
`);
    expect(got).toEqual([true, 1_048_576]);
  });

  test('released comes again, modified without a failure is not counted, rejected is gone', async () => {
    const got = await run(`
receiver = connection.create_receiver('proton-outcomes', credit=1)
sender = connection.create_sender('proton-outcomes')
sender.send(Message(body='a'))
receiver.receive()
receiver.release(delivered=False)
receiver.receive()
receiver.release(delivered=True)
again = receiver.receive()
receiver.reject()
sender.send(Message(body='b'))
last = receiver.receive()
receiver.accept()
print(json.dumps([again.body, again.delivery_count, last.body]))
`);
    expect(got).toEqual(['a', 0, 'b']);
  });

  test('what no queue takes is an exception of the sender', async () => {
    const got = await run(`
sender = connection.create_sender('/exchanges/amq.direct/nobody')
try:
    sender.send(Message(body='x'))
    print(json.dumps('accepted'))
except SendException as e:
    print(json.dumps(str(e.state)))
`);
    expect(got).toBe('RELEASED');
  });

  test('a queue that is not there is told by name', async () => {
    const got = await run(`
try:
    connection.create_receiver('/queues/proton-none')
    print(json.dumps('attached'))
except LinkDetached as e:
    print(json.dumps(e.condition))
`);
    expect(got).toBe('amqp:not-found');
  });

  test('a request with a dynamic node for its reply', async () => {
    const got = await run(`
requests = connection.create_receiver('proton-rpc', credit=1)
replies = connection.create_receiver(None, dynamic=True, credit=1)
address = replies.link.remote_source.address
connection.create_sender('proton-rpc').send(Message(body='hello', reply_to=address))
request = requests.receive()
requests.accept()
connection.create_sender(request.reply_to).send(Message(body=request.body.upper()))
print(json.dumps(replies.receive().body))
`);
    expect(got).toBe('HELLO');
  });

  test('a selector, and a browser that takes nothing', async () => {
    const got = await run(`
sender = connection.create_sender('proton-select')
for colour in ['red', 'green']: sender.send(Message(body=colour, properties={'colour': colour}))
browser = connection.create_receiver('proton-select', credit=2, options=Copy())
seen = [browser.receive().body, browser.receive().body]
receiver = connection.create_receiver('proton-select', credit=2, name='chosen', options=Selector("colour = 'green'"))
chosen = receiver.receive().body
receiver.accept()
print(json.dumps([seen, chosen]))
`);
    expect(got).toEqual([['red', 'green'], 'green']);
  });

  test('at most once: nobody is asked', async () => {
    const got = await run(`
receiver = connection.create_receiver('proton-settled', credit=5, options=AtMostOnce())
sender = connection.create_sender('proton-settled', options=AtMostOnce())
sender.send(Message(body='x'))
print(json.dumps(receiver.receive().body))
`);
    expect(got).toBe('x');
  });

  test('transactions: what is sent and settled in one is there after the commit, or never was', async () => {
    const got = await react(`
class Handler(MessagingHandler, TransactionHandler):
    def __init__(self):
        super().__init__(prefetch=0, auto_accept=False, auto_settle=False)
        self.rounds = ['abort', 'commit', 'abort taken', 'commit taken']
    def on_start(self, event):
        self.container = event.container
        self.connection = connect(event.container)
        self.sender = event.container.create_sender(self.connection, 'proton-transactions')
        self.receiver = event.container.create_receiver(self.connection, 'proton-transactions')
        self.declare()
    def declare(self):
        if self.rounds: self.container.declare_transaction(self.connection, handler=self)
        else: self.connection.close()
    def on_transaction_declared(self, event):
        self.transaction = event.transaction
        self.round = self.rounds.pop(0)
        if self.round.endswith('taken'): self.receiver.flow(1)
        else:
            self.transaction.send(self.sender, Message(body=self.round))
            self.end()
    def on_message(self, event):
        log.append([event.message.body, event.message.first_acquirer])
        self.transaction.accept(event.delivery)
        self.end()
    def end(self):
        if self.round.startswith('abort'): self.transaction.abort()
        else: self.transaction.commit()
    def on_transaction_aborted(self, event):
        log.append('aborted')
        self.declare()
    def on_transaction_committed(self, event):
        log.append('committed')
        self.declare()
`);
    expect(got).toEqual(['aborted', 'committed', ['commit', true], 'aborted', ['commit', false], 'committed']);
  });

  test('a durable subscription keeps what comes while nobody is there', async () => {
    const got = await react(`
class Handler(MessagingHandler):
    def on_start(self, event):
        self.container = event.container
        self.container.container_id = 'proton-durable'
        self.subscribe()
    def subscribe(self):
        self.connection = connect(self.container)
        self.receiver = self.container.create_receiver(self.connection, 'topic://proton.news', name='news', options=DurableSubscription())
        self.sender = self.container.create_sender(self.connection, 'topic://proton.news') if not log else None
    def on_link_opened(self, event):
        if event.receiver: event.receiver.detach()
    def on_sendable(self, event):
        if log: return
        log.append('sent')
        event.sender.send(Message(body='missed'))
    def on_accepted(self, event):
        event.connection.close()
    def on_connection_closed(self, event):
        if len(log) == 1:
            self.on_link_opened = lambda event: None
            self.subscribe()
    def on_message(self, event):
        log.append(event.message.body)
        event.receiver.close()
        event.connection.close()
`);
    expect(got).toEqual(['sent', 'missed']);
  });
});
