"""What pika, the usual client for Python, does with a broker: one function a check, run as `pika_checks.py PORT CHECK`."""
import datetime
import decimal
import sys
import threading
import uuid

import pika
from pika.exceptions import ChannelClosedByBroker, NackError, UnroutableError

PORT = int(sys.argv[1])


def connect(**options):
    return pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', PORT, **options))


def temporary(channel, **options):
    return channel.queue_declare('', exclusive=True, **options).method.queue


def drain(channel, queue):
    bodies = []
    while True:
        method, _properties, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body)


def closed_with(code, use):
    try:
        use()
    except ChannelClosedByBroker as error:
        assert error.reply_code == code, error
        return error.reply_text
    raise AssertionError('the channel was not closed')


def check_exchanges_of_all_types():
    channel = connect().channel()
    for kind, key, arguments, headers in [
        ('direct', 'k', None, None),
        ('fanout', '', None, None),
        ('topic', '*.#', None, None),
        ('headers', '', {'x-match': 'any', 'a': 1}, {'a': 1}),
    ]:
        exchange = f'pika-{kind}-{uuid.uuid4()}'
        channel.exchange_declare(exchange, kind, auto_delete=True)
        queue = temporary(channel)
        channel.queue_bind(queue, exchange, key, arguments)
        channel.basic_publish(exchange, 'k', b'x', pika.BasicProperties(headers=headers))
        channel.exchange_declare(exchange, kind, passive=True)
        assert drain(channel, queue) == [b'x'], kind
        channel.queue_unbind(queue, exchange, key, arguments)


def check_confirms_nacks_and_returns():
    channel = connect().channel()
    queue = temporary(channel, arguments={'x-max-length': 1, 'x-overflow': 'reject-publish'})
    channel.confirm_delivery()
    channel.basic_publish('', queue, b'1')
    try:
        channel.basic_publish('', queue, b'2')
        raise AssertionError('a full queue did not refuse')
    except NackError:
        pass
    try:
        channel.basic_publish('', 'nobody-has-this-queue', b'back', mandatory=True)
        raise AssertionError('it was not returned')
    except UnroutableError as error:
        assert error.messages[0].method.reply_code == 312
        assert error.messages[0].body == b'back'


def check_transactions():
    channel = connect().channel()
    queue = temporary(channel)
    channel.tx_select()
    channel.basic_publish('', queue, b'kept')
    channel.tx_commit()
    channel.basic_publish('', queue, b'forgotten')
    channel.tx_rollback()
    assert drain(channel, queue) == [b'kept']


def check_get_qos_and_recover():
    channel = connect().channel()
    queue = temporary(channel)
    for body in (b'1', b'2', b'3'):
        channel.basic_publish('', queue, body)
    method, _properties, body = channel.basic_get(queue)
    assert (method.message_count, method.redelivered, body) == (2, False, b'1')
    channel.basic_recover(requeue=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_qos(prefetch_count=2, global_qos=True)
    seen = []
    for method, _properties, body in channel.consume(queue, inactivity_timeout=5):
        seen.append((body, method.redelivered))
        channel.basic_ack(method.delivery_tag)
        if len(seen) == 3:
            break
    assert seen == [(b'1', True), (b'2', False), (b'3', False)], seen
    channel.cancel()


def check_a_consumer_is_told_that_its_queue_is_gone():
    connection = connect()
    channel = connection.channel()
    queue = temporary(channel)
    told = []
    channel.add_on_cancel_callback(lambda frame: told.append(frame.method.consumer_tag))
    tag = channel.basic_consume(queue, lambda *_: None)
    connection.channel().queue_delete(queue)
    connection.process_data_events(time_limit=0)
    for _ in range(50):
        if told:
            break
        connection.process_data_events(time_limit=0.1)
    assert told == [tag]


def check_large_bodies_and_many_channels():
    connection = connect(frame_max=4096)
    body = bytes(range(256)) * 4000
    for channel in [connection.channel() for _ in range(50)]:
        queue = temporary(channel)
        channel.basic_publish('', queue, body if channel.channel_number == 1 else b'small')
        assert drain(channel, queue) == [body if channel.channel_number == 1 else b'small']


def check_headers_of_all_types():
    channel = connect().channel()
    queue = temporary(channel)
    headers = {
        'text': 'é漢',
        'bytes': b'\xff\x00',
        'yes': True,
        'no': False,
        'none': None,
        'int': 5,
        'negative': -5,
        'long': 2**40,
        'decimal': decimal.Decimal('12.34'),
        'when': datetime.datetime(2020, 9, 13, 12, 26, 40),
        'list': ['a', 1, None, ['b']],
        'table': {'a': {'b': [1]}},
    }
    sent = pika.BasicProperties(
        content_type='a/b',
        content_encoding='c',
        headers=headers,
        delivery_mode=2,
        priority=7,
        correlation_id='1',
        reply_to='r',
        expiration='60000',
        message_id='m',
        timestamp=1600000000,
        type='t',
        user_id='guest',
        app_id='a',
    )
    channel.basic_publish('', queue, b'x', sent)
    _method, got, _body = channel.basic_get(queue)
    assert got.headers == headers, got.headers
    assert vars(got) == vars(sent), vars(got)


def check_heartbeats():
    connection = connect(heartbeat=1)
    channel = connection.channel()
    connection.sleep(4)
    channel.exchange_declare('amq.direct', passive=True)


def check_exclusive_queues_and_consumers():
    channel = connect().channel()
    queue = f'pika-{uuid.uuid4()}'
    channel.queue_declare(queue, exclusive=True)
    strange = connect()
    assert 'cannot obtain exclusive access' in closed_with(405, lambda: strange.channel().queue_declare(queue, passive=True))
    channel.basic_consume(queue, lambda *_: None, exclusive=True)
    other = channel.connection.channel()
    assert 'in exclusive use' in closed_with(403, lambda: other.basic_consume(queue, lambda *_: None))


def check_priority_of_consumers():
    connection = connect()
    channel = connection.channel()
    queue = temporary(channel)
    seen = []

    def consume(name, priority):
        def on_message(each, method, _properties, _body):
            seen.append(name)
            each.basic_ack(method.delivery_tag)

        channel.basic_consume(queue, on_message, arguments={'x-priority': priority})

    consume('low', 1)
    consume('high', 10)
    for _ in range(5):
        channel.basic_publish('', queue, b'x')
    for _ in range(50):
        if len(seen) == 5:
            break
        connection.process_data_events(time_limit=0.1)
    assert seen == ['high'] * 5, seen


def check_direct_reply_to():
    client = connect().channel()
    answers = []
    queue = f'pika-rpc-{uuid.uuid4()}'

    def serve():
        connection = connect()
        channel = connection.channel()
        channel.queue_declare(queue, auto_delete=True)
        ready.set()
        for method, properties, body in channel.consume(queue, inactivity_timeout=10):
            reply = pika.BasicProperties(correlation_id=properties.correlation_id)
            channel.basic_publish('', properties.reply_to, body.upper(), reply)
            channel.basic_ack(method.delivery_tag)
            break
        connection.close()

    ready = threading.Event()
    server = threading.Thread(target=serve)
    server.start()
    ready.wait(10)
    client.basic_consume('amq.rabbitmq.reply-to', lambda _c, _m, p, body: answers.append((p.correlation_id, body)), auto_ack=True)
    request = pika.BasicProperties(reply_to='amq.rabbitmq.reply-to', correlation_id='7')
    client.basic_publish('', queue, b'question', request)
    for _ in range(100):
        if answers:
            break
        client.connection.process_data_events(time_limit=0.1)
    assert answers == [('7', b'QUESTION')], answers
    server.join()


def check_errors_by_their_codes():
    connection = connect()
    closed_with(404, lambda: connection.channel().queue_declare('no-such-queue', passive=True))
    closed_with(404, lambda: connection.channel().queue_bind('no-such-queue', 'amq.direct'))
    closed_with(403, lambda: connection.channel().queue_declare('amq.mine'))
    closed_with(403, lambda: connection.channel().exchange_declare('amq.mine'))
    closed_with(406, lambda: connection.channel().exchange_declare('amq.direct', 'fanout', durable=True))
    closed_with(406, lambda: connection.channel().queue_declare('x', arguments={'x-message-ttl': 'soon'}))
    connection.channel().exchange_declare('amq.direct', passive=True)


def check_wrong_credentials():
    try:
        connect(credentials=pika.PlainCredentials('guest', 'wrong'))
        raise AssertionError('let in')
    except pika.exceptions.ProbableAuthenticationError as error:
        assert 'ACCESS_REFUSED' in str(error)


globals()[f'check_{sys.argv[2]}']()
