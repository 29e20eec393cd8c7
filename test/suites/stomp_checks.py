"""What stomp.py, the usual client for Python, does with a broker: one function a check, run as
`stomp_checks.py PORT CHECK`."""
import os
import queue
import sys
import uuid

import stomp

PORT = int(sys.argv[1])
CONNECTIONS = {'1.0': stomp.Connection10, '1.1': stomp.Connection11, '1.2': stomp.Connection12}


class Inbox(stomp.ConnectionListener):
    """Frames by their kind, each in its order."""

    def __init__(self):
        self.messages = queue.Queue()
        self.receipts = queue.Queue()
        self.errors = queue.Queue()
        self.ends = queue.Queue()

    def on_message(self, frame):
        self.messages.put(frame)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers['receipt-id'])

    def on_error(self, frame):
        self.errors.put(frame)

    def on_disconnected(self):
        self.ends.put(True)


def connect(version='1.2', login='guest', passcode='guest', headers=None, **options):
    kind = CONNECTIONS[version]
    connection = kind([('127.0.0.1', PORT)], auto_decode=False, reconnect_attempts_max=1, **options)
    inbox = Inbox()
    connection.set_listener('inbox', inbox)
    connection.connect(login, passcode, wait=True, headers=headers or {})
    return connection, inbox


def unique(kind='queue'):
    return '/%s/py-%s' % (kind, uuid.uuid4().hex)


def with_receipt(inbox, send):
    receipt = uuid.uuid4().hex
    send(receipt)
    assert inbox.receipts.get(timeout=10) == receipt


def subscribe(connection, inbox, destination, id='0', ack='auto', **headers):
    headers = {name.replace('_', '-'): value for name, value in headers.items()}
    with_receipt(inbox, lambda receipt: connection.subscribe(
        destination, id=id, ack=ack, headers={'receipt': receipt, **headers}))


def send(connection, inbox, destination, body, **headers):
    headers = {name.replace('_', '-'): value for name, value in headers.items()}
    with_receipt(inbox, lambda receipt: connection.send(destination, body, headers={'receipt': receipt, **headers}))


def bodies(inbox, count):
    return [inbox.messages.get(timeout=10).body for _ in range(count)]


def ack(connection, version, frame, command='ack'):
    if version == '1.2':
        getattr(connection, command)(frame.headers['ack'])
    elif version == '1.1':
        getattr(connection, command)(frame.headers['message-id'], frame.headers['subscription'])
    else:
        getattr(connection, command)(frame.headers['message-id'])


def each_version(check):
    for version in CONNECTIONS:
        check(version)


def check_octets_unicode_and_headers_in_each_version():
    def check(version):
        connection, inbox = connect(version)
        destination = unique()
        subscribe(connection, inbox, destination)
        note = 'Grüße' if version == '1.0' else 'a:b\nGrüße\\'
        for body in [bytes(range(256)), 'Grüße 𝄞'.encode()]:
            connection.send(destination, body, content_type='application/x', headers={'note': note})
            frame = inbox.messages.get(timeout=10)
            assert frame.body == body, frame.body
            assert frame.headers['note'] == note and frame.headers['content-type'] == 'application/x', frame.headers
        connection.disconnect()
    each_version(check)


def check_acknowledgement_in_each_version():
    def check(version):
        connection, inbox = connect(version)
        destination = unique()
        for body in '1234':
            send(connection, inbox, destination, body)
        subscribe(connection, inbox, destination, ack='client')
        frames = [inbox.messages.get(timeout=10) for _ in range(4)]
        ack(connection, version, frames[1])
        if version != '1.0':
            ack(connection, version, frames[2], 'nack')
            assert inbox.messages.get(timeout=10).headers['redelivered'] == 'true'
        connection.disconnect()
        other, inbox = connect(version)
        subscribe(other, inbox, destination)
        assert sorted(bodies(inbox, 2)) == [b'3', b'4']
        other.disconnect()
    each_version(check)


def check_client_individual_and_nack():
    connection, inbox = connect()
    destination = unique()
    for body in '12':
        send(connection, inbox, destination, body)
    subscribe(connection, inbox, destination, ack='client-individual')
    first, second = (inbox.messages.get(timeout=10) for _ in range(2))
    connection.ack(second.headers['ack'])
    connection.nack(first.headers['ack'])
    again = inbox.messages.get(timeout=10)
    assert (again.body, again.headers['redelivered']) == (b'1', 'true')
    connection.nack(again.headers['ack'], requeue='false')
    connection.disconnect()


def check_transactions():
    connection, inbox = connect()
    destination = unique()
    subscribe(connection, inbox, destination, ack='client-individual')
    aborted = connection.begin()
    connection.send(destination, 'never', transaction=aborted)
    connection.abort(aborted)
    committed = connection.begin()
    for body in '12':
        connection.send(destination, body, transaction=committed)
    connection.commit(committed)
    frames = [inbox.messages.get(timeout=10) for _ in range(2)]
    assert [frame.body for frame in frames] == [b'1', b'2']
    name = connection.begin()
    connection.ack(frames[0].headers['ack'], transaction=name)
    connection.abort(name)
    connection.ack(frames[1].headers['ack'])
    connection.disconnect()
    other, inbox = connect()
    subscribe(other, inbox, destination)
    assert bodies(inbox, 1) == [b'1']
    other.disconnect()


def check_heart_beats():
    connection, inbox = connect(heartbeats=(1000, 1000))
    subscribe(connection, inbox, '/topic/py-quiet')
    other, others = connect()
    try:
        inbox.ends.get(timeout=3)  # longer than either side would wait for a beat
        raise AssertionError('the connection was lost')
    except queue.Empty:
        pass
    send(other, others, '/topic/py-quiet', 'x')
    assert bodies(inbox, 1) == [b'x']
    connection.disconnect()
    other.disconnect()


def check_durable_subscriptions_of_rabbitmq():
    topic, name = unique('topic'), uuid.uuid4().hex
    durable = {'durable': 'true', 'auto_delete': False}
    connection, inbox = connect()
    subscribe(connection, inbox, topic, id=name, **durable)
    connection.disconnect()
    connection, inbox = connect()
    send(connection, inbox, topic, 'missed', persistent='true')
    subscribe(connection, inbox, topic, id=name, **durable)
    assert bodies(inbox, 1) == [b'missed']
    connection.unsubscribe(name, headers={'durable': 'true', 'auto-delete': 'false'})
    send(connection, inbox, topic, 'for nobody')
    subscribe(connection, inbox, topic, id=name, **durable)
    send(connection, inbox, topic, 'new')
    assert bodies(inbox, 1) == [b'new']
    connection.disconnect()


def check_durable_subscriptions_of_activemq():
    topic, client = unique('topic'), uuid.uuid4().hex
    for expected in [None, b'missed']:
        connection, inbox = connect(headers={'client-id': client})
        subscribe(connection, inbox, topic, **{'activemq.subscriptionName': 's'})
        if expected is not None:
            assert bodies(inbox, 1) == [expected]
        connection.disconnect()
        other, others = connect()
        send(other, others, topic, 'missed', persistent='true')
        other.disconnect()


def check_selectors():
    connection, inbox = connect()
    topic = unique('topic')
    subscribe(connection, inbox, topic, selector="n > 5 AND color LIKE 'r%'")
    for n, color in [(5, 'red'), (6, 'blue'), (6, 'red')]:
        connection.send(topic, '%d %s' % (n, color), headers={'n': n, 'color': color})
    assert bodies(inbox, 1) == [b'6 red']
    connection.disconnect()


def check_rpc_over_a_temporary_queue():
    (asker, answers), (responder, requests) = connect(), connect()
    destination = unique()
    subscribe(responder, requests, destination)
    send(asker, answers, destination, 'ask', reply_to='/temp-queue/rpc', correlation_id='7')
    request = requests.messages.get(timeout=10)
    assert request.headers['reply-to'].startswith('/reply-queue/')
    responder.send(request.headers['reply-to'], 'answer', headers={'correlation-id': '7'})
    answer = answers.messages.get(timeout=10)
    assert (answer.body, answer.headers['correlation-id']) == (b'answer', '7')
    asker.disconnect()
    responder.disconnect()


def check_large_bodies():
    connection, inbox = connect()
    topic = unique('topic')
    subscribe(connection, inbox, topic)
    body = os.urandom(4 * 1024 * 1024)
    connection.send(topic, body)
    assert bodies(inbox, 1) == [body]
    connection.disconnect()


def check_priority_and_expiry_and_properties():
    connection, inbox = connect()
    destination = unique()
    subscribe(connection, inbox, destination)
    headers = {'priority': '7', 'expiration': '60000', 'persistent': 'true', 'amqp-message-id': 'm', 'type': 't'}
    connection.send(destination, 'x', headers=headers)
    got = inbox.messages.get(timeout=10).headers
    assert {name: got[name] for name in headers} == headers, got
    connection.disconnect()


def check_errors():
    for act, message in [
        (lambda c: c.send('/nowhere/x', 'x'), 'Unknown destination'),
        (lambda c: c.subscribe('/amq/queue/none', id='0'), 'not_found'),
        (lambda c: c.commit('none'), 'Bad transaction'),
        (lambda c: c.ack('none'), 'Message not found'),
        (lambda c: c.unsubscribe('none'), 'No subscription found'),
    ]:
        connection, inbox = connect()
        act(connection)
        assert inbox.errors.get(timeout=10).headers['message'] == message
        assert inbox.ends.get(timeout=10)
    try:
        connect(passcode='wrong')
        raise AssertionError('let in')
    except stomp.exception.ConnectFailedException:
        pass


globals()['check_' + sys.argv[2]]()
