"""A requester or responder as stomp.py and paho-mqtt have them in their examples:
`rpc_peer.py LIBRARY PORT respond TOPIC` says `ready` and answers for ever; `… request TOPIC BODY` prints the answer."""
import queue
import sys
import uuid

import paho.mqtt.client as mqtt
import stomp
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

library, port, role, topic = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
answers = queue.Queue()


class Listener(stomp.ConnectionListener):
    def on_message(self, frame):
        if role == 'request':
            answers.put((frame.headers.get('correlation-id'), frame.body))
            return
        headers = {name: frame.headers[name] for name in ('correlation-id',) if name in frame.headers}
        connection.send(frame.headers['reply-to'], frame.body.upper(), headers=headers)

    def on_receipt(self, frame):
        answers.put(None)


def on_message(client, _userdata, message):
    if role == 'request':
        answers.put((message.properties.CorrelationData, message.payload.decode()))
        return
    block = Properties(PacketTypes.PUBLISH)
    block.CorrelationData = message.properties.CorrelationData
    client.publish(message.properties.ResponseTopic, message.payload.upper(), properties=block)


def listen_stomp(destination):
    connection.subscribe(destination, id='0', ack='auto', headers={'receipt': 'subscribed'})
    answers.get(timeout=10)


def listen_mqtt(name):
    client.on_subscribe = lambda *_: answers.put(None)
    client.subscribe(name)
    answers.get(timeout=10)


correlation = uuid.uuid4()
if library == 'stomp.py':
    connection = stomp.Connection12([('127.0.0.1', port)])
    connection.set_listener('', Listener())
    connection.connect('guest', 'guest', wait=True)
    if role == 'respond':
        listen_stomp('/topic/' + topic)
    else:
        reply_to = '/queue/answers-' + correlation.hex
        listen_stomp(reply_to)
        connection.send('/topic/' + topic, sys.argv[5],
                        headers={'reply-to': reply_to, 'correlation-id': str(correlation)})
        expected = str(correlation)
else:
    client = mqtt.Client(protocol=mqtt.MQTTv5)
    client.username_pw_set('guest', 'guest')
    client.on_connect = lambda *_: answers.put(None)
    client.on_message = on_message
    client.connect('127.0.0.1', port)
    client.loop_start()
    answers.get(timeout=10)
    name = topic.replace('.', '/')
    if role == 'respond':
        listen_mqtt(name)
    else:
        block = Properties(PacketTypes.PUBLISH)
        block.ResponseTopic = 'answers/' + correlation.hex
        block.CorrelationData = correlation.bytes
        listen_mqtt(block.ResponseTopic)
        client.publish(name, sys.argv[5], properties=block)
        expected = correlation.bytes

if role == 'respond':
    print('ready', flush=True)
    sys.stdin.readline()
else:
    found, body = answers.get(timeout=20)
    assert found == expected, (found, expected)
    print(body, flush=True)
