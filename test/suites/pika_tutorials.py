"""RabbitMQ's seven tutorials with pika, each pair of programs as one function: `pika_tutorials.py PORT TUTORIAL`."""
import sys
import uuid

import pika

PORT = int(sys.argv[1])


def connect():
    return pika.BlockingConnection(pika.ConnectionParameters('127.0.0.1', PORT))


def consume(channel, count, queue, **options):
    """The bodies of the first `count` messages, as start_consuming hands them over."""
    bodies = []

    def callback(ch, method, properties, body):
        bodies.append(body)
        if not options.get('auto_ack'):
            ch.basic_ack(delivery_tag=method.delivery_tag)
        if len(bodies) == count:
            ch.stop_consuming()

    channel.basic_consume(queue=queue, on_message_callback=callback, **options)
    channel.start_consuming()
    return bodies


def check_1_hello_world():
    channel = connect().channel()
    channel.queue_declare(queue='pika-hello')
    channel.basic_publish(exchange='', routing_key='pika-hello', body='Hello World!')
    receiver = connect().channel()
    receiver.queue_declare(queue='pika-hello')
    assert consume(receiver, 1, 'pika-hello', auto_ack=True) == [b'Hello World!']
    receiver.queue_delete('pika-hello')


def check_2_work_queues():
    channel = connect().channel()
    channel.queue_declare(queue='pika-tasks', durable=True)
    for task in ['1.', '2..', '3...']:
        channel.basic_publish(
            exchange='',
            routing_key='pika-tasks',
            body=task,
            properties=pika.BasicProperties(delivery_mode=2),
        )
    lost = connect()
    dying = lost.channel()
    dying.basic_qos(prefetch_count=1)
    method, _properties, body = next(dying.consume('pika-tasks'))
    assert body == b'1.' and not method.redelivered
    lost.close()
    worker = connect().channel()
    worker.queue_declare(queue='pika-tasks', durable=True)
    worker.basic_qos(prefetch_count=1)
    assert consume(worker, 3, 'pika-tasks') == [b'1.', b'2..', b'3...']
    worker.queue_delete('pika-tasks')


def check_3_publish_and_subscribe():
    channel = connect().channel()
    channel.exchange_declare(exchange='pika-logs', exchange_type='fanout')
    receivers = []
    for _ in range(2):
        receiver = connect().channel()
        queue = receiver.queue_declare(queue='', exclusive=True).method.queue
        receiver.queue_bind(exchange='pika-logs', queue=queue)
        receivers.append((receiver, queue))
    channel.basic_publish(exchange='pika-logs', routing_key='', body='info: Hello World!')
    for receiver, queue in receivers:
        assert consume(receiver, 1, queue, auto_ack=True) == [b'info: Hello World!']
    channel.exchange_delete('pika-logs')


def check_4_routing():
    channel = connect().channel()
    channel.exchange_declare(exchange='pika-direct', exchange_type='direct')
    queue = channel.queue_declare(queue='', exclusive=True).method.queue
    for severity in ['warning', 'error']:
        channel.queue_bind(exchange='pika-direct', queue=queue, routing_key=severity)
    for severity in ['info', 'error', 'debug', 'warning']:
        channel.basic_publish(exchange='pika-direct', routing_key=severity, body=severity)
    assert consume(channel, 2, queue, auto_ack=True) == [b'error', b'warning']
    channel.exchange_delete('pika-direct')


def check_5_topics():
    channel = connect().channel()
    channel.exchange_declare(exchange='pika-topic', exchange_type='topic')
    for patterns, expected in [
        (['#'], [b'kern.critical', b'anonymous.info']),
        (['kern.*'], [b'kern.critical']),
        (['kern.*', '*.critical'], [b'kern.critical']),
    ]:
        queue = channel.queue_declare(queue='', exclusive=True).method.queue
        for pattern in patterns:
            channel.queue_bind(exchange='pika-topic', queue=queue, routing_key=pattern)
        for key in ['kern.critical', 'anonymous.info']:
            channel.basic_publish(exchange='pika-topic', routing_key=key, body=key)
        assert consume(channel, len(expected), queue, auto_ack=True) == expected, patterns
        assert channel.basic_get(queue)[0] is None
    channel.exchange_delete('pika-topic')


def check_6_rpc():
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    server = connect().channel()
    server.queue_declare(queue='pika-rpc')
    client = connect().channel()
    callback_queue = client.queue_declare(queue='', exclusive=True).method.queue
    correlation_id = str(uuid.uuid4())
    client.basic_publish(
        exchange='',
        routing_key='pika-rpc',
        properties=pika.BasicProperties(reply_to=callback_queue, correlation_id=correlation_id),
        body='15',
    )
    server.basic_qos(prefetch_count=1)
    for method, properties, body in server.consume('pika-rpc'):
        server.basic_publish(
            exchange='',
            routing_key=properties.reply_to,
            properties=pika.BasicProperties(correlation_id=properties.correlation_id),
            body=str(fib(int(body))),
        )
        server.basic_ack(delivery_tag=method.delivery_tag)
        break
    server.cancel()
    for _method, properties, body in client.consume(callback_queue, auto_ack=True):
        assert properties.correlation_id == correlation_id
        assert body == b'610'
        break
    server.queue_delete('pika-rpc')


def check_7_publisher_confirms():
    channel = connect().channel()
    channel.confirm_delivery()
    queue = channel.queue_declare(queue='', exclusive=True).method.queue
    for i in range(200):
        channel.basic_publish(exchange='', routing_key=queue, body=str(i), mandatory=True)
    assert channel.queue_declare(queue=queue, passive=True).method.message_count == 200


if __name__ == '__main__':
    globals()[f'check_{sys.argv[2]}']()
