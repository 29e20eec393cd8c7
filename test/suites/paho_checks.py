"""What paho-mqtt, the usual client for Python, does with a broker: one function a check, run as `paho_checks.py PORT CHECK`.

A check that needs the broker to end and come back writes `restart SIGNAL` and waits for a line.
"""
import hashlib
import queue
import sys
import threading
import time
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
VERSIONS = (mqtt.MQTTv31, mqtt.MQTTv311, mqtt.MQTTv5)
PATIENCE = 20
FOR_EVER = 0xFFFFFFFF


def unique():
    return uuid.uuid4().hex[:12]


def properties(packet, **values):
    block = Properties(packet)
    for name, value in values.items():
        setattr(block, name, value)
    return block


def restart(signal):
    print(f'restart {signal}', flush=True)
    sys.stdin.readline()


class Peer:
    """A client and what happened to it, as queues to wait on."""

    def __init__(self, version=mqtt.MQTTv5, client_id=None, clean=True, user='guest', password='guest', **options):
        self.version = version
        self.client_id = unique() if client_id is None else client_id
        flags = {} if version == mqtt.MQTTv5 else {'clean_session': clean}
        self.client = mqtt.Client(self.client_id, protocol=version, **flags, **options)
        self.client.username_pw_set(user, password)
        self.clean = clean
        self.connacks, self.messages, self.done, self.ends = (queue.Queue() for _ in range(4))
        self.client.on_connect = lambda _c, _u, flags, code, properties=None: self.connacks.put((flags, code, properties))
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_publish = lambda _c, _u, mid: self.done.put(mid)
        self.client.on_subscribe = lambda _c, _u, mid, codes, properties=None: self.done.put(codes)
        self.client.on_unsubscribe = lambda _c, _u, mid, properties=None, codes=None: self.done.put(codes)
        self.client.on_disconnect = lambda _c, _u, code, properties=None: self.ends.put(code)

    def connect(self, expiry=None, **block):
        """Connects. -> (session present, reason code, properties)"""
        options = {}
        if self.version == mqtt.MQTTv5:
            if expiry is None:
                expiry = 0 if self.clean else FOR_EVER
            options = {
                'clean_start': self.clean,
                'properties': properties(PacketTypes.CONNECT, SessionExpiryInterval=expiry, **block),
            }
        self.client.connect('127.0.0.1', PORT, 60, **options)
        self.client.loop_start()
        flags, code, told = self.connacks.get(timeout=PATIENCE)
        return bool(flags['session present']), value(code), told

    def subscribe(self, topic, qos=0, block=None, **options):
        """-> the codes granted"""
        if self.version == mqtt.MQTTv5:
            self.client.subscribe(topic, options=SubscribeOptions(qos, **options), properties=block)
        else:
            self.client.subscribe(topic, qos)
        return [value(code) for code in self.done.get(timeout=PATIENCE)]

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        return self.done.get(timeout=PATIENCE)

    def publish(self, topic, body, qos=0, retain=False, **block):
        """Publishes, and waits for the acknowledgement that the QoS has."""
        options = {'properties': properties(PacketTypes.PUBLISH, **block)} if block else {}
        self.client.publish(topic, body, qos, retain, **options)
        self.done.get(timeout=PATIENCE)

    def receive(self, count=1):
        return [self.messages.get(timeout=PATIENCE) for _ in range(count)]

    def bodies(self, count=1):
        return [message.payload for message in self.receive(count)]

    def silent(self):
        """Nothing has come, up to what is published now."""
        fence = unique()
        self.subscribe(fence, 1)
        self.publish(fence, b'fence', 1)
        (message,) = self.receive()
        return message.topic == fence

    def leave(self):
        self.client.disconnect()
        self.ends.get(timeout=PATIENCE)
        self.client.loop_stop()

    def vanish(self):
        """The connection is lost, without a farewell."""
        self.client.loop_stop()
        self.client._sock_close()


def value(code):
    return code if isinstance(code, int) else code.value


def connected(*args, expiry=None, **options):
    peer = Peer(*args, **options)
    peer.connect(expiry)
    return peer


def check_each_qos_in_each_version():
    for version in VERSIONS:
        topic = unique()
        peer = connected(version)
        for granted in (0, 1, 2):
            assert peer.subscribe(f'{topic}/+', granted) == [granted]
            for qos in (0, 1, 2):
                peer.publish(f'{topic}/{qos}', f'{qos}', qos)
            got = sorted((message.topic, message.qos) for message in peer.receive(3))
            assert got == [(f'{topic}/{qos}', min(qos, granted)) for qos in (0, 1, 2)], got
        peer.leave()


def check_order_of_many_in_flight():
    for qos in (1, 2):
        topic = unique()
        subscriber = connected()
        subscriber.subscribe(topic, qos)
        publisher = connected()
        publisher.client.max_inflight_messages_set(50)
        wanted = [f'{i}'.encode() for i in range(500)]
        for body in wanted:
            publisher.client.publish(topic, body, qos)
        assert subscriber.bodies(len(wanted)) == wanted
        publisher.leave()
        subscriber.leave()


def session_survives(end_with):
    for version in VERSIONS:
        topic, client_id = unique(), unique()
        peer = Peer(version, client_id, clean=False)
        present, code, _ = peer.connect()
        assert (present, code) == (False, 0)
        peer.subscribe(f'{topic}/#', 2)
        peer.leave()
        publisher = connected(version)
        for qos in (1, 2):
            publisher.publish(f'{topic}/{qos}', f'{qos}', qos)
        publisher.leave()
        if end_with is not None:
            restart(end_with)
        again = Peer(version, client_id, clean=False)
        present, code, _ = again.connect()
        assert code == 0
        assert present == (version != mqtt.MQTTv31), version
        assert sorted((message.payload, message.qos) for message in again.receive(2)) == [(b'1', 1), (b'2', 2)]
        again.publish(f'{topic}/more', b'more', 1)
        assert again.bodies() == [b'more']
        again.leave()
        clean = Peer(version, client_id, clean=True)
        assert clean.connect()[0] is False
        assert clean.silent()
        clean.leave()


def check_session_over_a_reconnect():
    session_survives(None)


def check_session_over_a_stop():
    session_survives('SIGTERM')


def check_session_over_a_kill():
    session_survives('SIGKILL')


def check_what_was_not_acknowledged_comes_again():
    for version in VERSIONS:
        for qos in (1, 2):
            topic, client_id = unique(), unique()
            peer = Peer(version, client_id, clean=False)
            peer.connect()
            peer.subscribe(topic, qos)
            taken = threading.Event()
            peer.client._handle_publish = lambda: taken.set() or mqtt.MQTT_ERR_SUCCESS  # it is read, and forgotten
            publisher = connected(version)
            publisher.publish(topic, b'once', qos)
            assert taken.wait(PATIENCE)
            peer.vanish()
            again = Peer(version, client_id, clean=False)
            again.connect()
            (message,) = again.receive()
            assert (message.payload, message.dup) == (b'once', 1)
            assert again.silent()
            again.leave()
            publisher.leave()


def check_a_client_goes_on_after_a_kill():
    for version in (mqtt.MQTTv311, mqtt.MQTTv5):
        topic = unique()
        peer = Peer(version, clean=False)
        peer.client.reconnect_delay_set(1, 1)
        peer.connect()
        peer.subscribe(topic, 1)
        restart('SIGKILL')
        flags, code, _ = peer.connacks.get(timeout=PATIENCE)
        assert value(code) == 0
        peer.publish(topic, b'after', 1)
        assert peer.bodies() == [b'after']
        peer.leave()


def check_retained_messages():
    for version in VERSIONS:
        topic = unique()
        publisher = connected(version)
        for qos in (0, 1, 2):
            publisher.publish(f'{topic}/{qos}', f'{qos}', qos, True)
        for topics, wanted in ((f'{topic}/1', [1]), (f'{topic}/+', [0, 1, 2]), (f'{topic}/#', [0, 1, 2])):
            subscriber = connected(version)
            subscriber.subscribe(topics, 2)
            got = sorted((message.qos, message.retain) for message in subscriber.receive(len(wanted)))
            assert got == [(qos, True) for qos in wanted], got
            publisher.publish(f'{topic}/1', b'live', 1, True)
            (live,) = subscriber.receive()
            assert (live.payload, live.retain) == (b'live', False)
            subscriber.leave()
        publisher.publish(f'{topic}/1', b'', 1, True)
        subscriber = connected(version)
        subscriber.subscribe(f'{topic}/1', 1)
        assert subscriber.silent()
        subscriber.leave()
        publisher.leave()


def check_retained_messages_over_a_kill():
    topic = unique()
    publisher = connected(mqtt.MQTTv5)
    publisher.publish(f'{topic}/kept', b'kept', 1, True, ContentType='text/plain', UserProperty=('a', 'b'))
    publisher.publish(f'{topic}/zero', b'zero', 0, True)
    publisher.publish(f'{topic}/gone', b'gone', 1, True)
    publisher.publish(f'{topic}/gone', b'', 1, True)
    publisher.leave()
    restart('SIGKILL')
    subscriber = connected()
    subscriber.subscribe(f'{topic}/#', 1)
    got = {message.topic: message for message in subscriber.receive(2)}
    assert sorted(got) == [f'{topic}/kept', f'{topic}/zero'], sorted(got)
    kept = got[f'{topic}/kept']
    assert (kept.payload, kept.properties.ContentType, kept.properties.UserProperty) == (b'kept', 'text/plain', [('a', 'b')])
    assert subscriber.silent()
    subscriber.leave()


def check_retain_handling_and_retain_as_published():
    topic = unique()
    publisher = connected()
    publisher.publish(topic, b'kept', 1, True)
    peer = connected()
    peer.subscribe(topic, 1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
    assert peer.bodies() == [b'kept']
    peer.subscribe(topic, 1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB, retainAsPublished=True)
    assert peer.silent()
    publisher.publish(topic, b'live', 1, True)
    (live,) = peer.receive()
    assert (live.payload, live.retain) == (b'live', True)
    peer.subscribe(topic, 1, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
    assert peer.silent()
    peer.subscribe(topic, 1)
    assert peer.bodies() == [b'live']
    peer.leave()
    publisher.leave()


def check_wills():
    for version in VERSIONS:
        topic = unique()
        watcher = connected(version)
        watcher.subscribe(f'{topic}/#', 2)
        for qos in (0, 1, 2):
            peer = Peer(version)
            peer.client.will_set(f'{topic}/{qos}', f'gone {qos}', qos, retain=qos == 2)
            peer.connect()
            peer.vanish()
            (will,) = watcher.receive()
            assert (will.topic, will.payload, will.qos, will.retain) == (f'{topic}/{qos}', f'gone {qos}'.encode(), qos, 0)
        late = connected(version)
        late.subscribe(f'{topic}/+', 2)
        (kept,) = late.receive()
        assert (kept.payload, kept.retain) == (b'gone 2', True)
        polite = Peer(version)
        polite.client.will_set(f'{topic}/polite', b'gone', 1)
        polite.connect()
        polite.leave()
        assert watcher.silent()
        for peer in (watcher, late):
            peer.leave()


def check_a_will_with_properties_waits_for_its_delay():
    topic = unique()
    watcher = connected()
    watcher.subscribe(topic, 1)
    peer = Peer(clean=False)
    block = properties(
        PacketTypes.WILLMESSAGE, WillDelayInterval=1, ContentType='text/plain', ResponseTopic='r', CorrelationData=b'c',
        UserProperty=('a', 'b'), MessageExpiryInterval=60, PayloadFormatIndicator=1,
    )
    peer.client.will_set(topic, b'gone', 1, properties=block)
    peer.connect(expiry=30)
    peer.vanish()
    assert watcher.silent()
    (will,) = watcher.receive()
    told = will.properties
    assert (told.ContentType, told.ResponseTopic, told.CorrelationData) == ('text/plain', 'r', b'c')
    assert (told.UserProperty, told.PayloadFormatIndicator) == ([('a', 'b')], 1)
    assert 58 <= told.MessageExpiryInterval <= 60, told.MessageExpiryInterval
    assert not hasattr(told, 'WillDelayInterval')
    back = Peer(client_id=peer.client_id, clean=False)
    back.connect()
    back.leave()
    assert watcher.silent()
    watcher.leave()


def check_shared_subscriptions():
    for version in VERSIONS:
        topic = unique()
        members = [connected(version) for _ in range(3)]
        watcher = connected(version)
        watcher.subscribe(topic, 1)
        for member in members:
            assert member.subscribe(f'$share/group/{topic}', 1) == [1]
        other = connected(version)
        other.subscribe(f'$share/other/{topic}', 1)
        bodies = sorted(f'{i}'.encode() for i in range(60))
        for body in bodies:
            watcher.publish(topic, body, 1)
        assert sorted(watcher.bodies(60)) == bodies
        assert sorted(other.bodies(60)) == bodies
        got, shares = [], []
        deadline = time.monotonic() + PATIENCE
        while len(got) < 60 and time.monotonic() < deadline:
            for member in members:
                while not member.messages.empty():
                    message = member.messages.get()
                    got.append(message.payload)
                    shares.append(member)
        assert sorted(got) == bodies
        assert all(shares.count(member) > 0 for member in members)
        members[0].unsubscribe(f'$share/group/{topic}')
        members[1].leave()
        watcher.publish(topic, b'last', 1)
        assert members[2].bodies() == [b'last']
        for peer in (members[0], members[2], watcher, other):
            peer.leave()


def check_bodies_of_16_mib():
    body = hashlib.sha512(b'').digest() * (16 * 1024 * 1024 // 64)
    for version in VERSIONS:
        for qos in (0, 1, 2):
            topic = unique()
            peer = connected(version)
            peer.subscribe(topic, qos)
            peer.publish(topic, body, qos)
            assert peer.bodies() == [body]
            peer.leave()


def check_a_large_body_waits_in_a_session_over_a_kill():
    body = hashlib.sha512(b'').digest() * (16 * 1024 * 1024 // 64)
    topic = unique()
    peer = Peer(clean=False)
    peer.connect()
    peer.subscribe(topic, 1)
    peer.leave()
    publisher = connected()
    publisher.publish(topic, body, 1)
    publisher.leave()
    restart('SIGKILL')
    again = Peer(client_id=peer.client_id, clean=False)
    again.connect()
    assert again.bodies() == [body]
    again.leave()


def check_return_codes():
    assert Peer(mqtt.MQTTv31, client_id='c' * 24).connect()[1] == 2
    for version in (mqtt.MQTTv31, mqtt.MQTTv311):
        assert Peer(version, password='wrong').connect()[1] in (4, 5)
        assert Peer(version, user='nowhere:guest').connect()[1] == 5
    assert Peer(mqtt.MQTTv5, password='wrong').connect()[1] == 0x86
    assert Peer(mqtt.MQTTv5, user='nowhere:guest').connect()[1] == 0x87
    assert Peer(mqtt.MQTTv311, user='/:guest').connect()[1] == 0


def check_an_empty_client_id_is_assigned():
    peer = Peer(client_id='')
    _, code, told = peer.connect()
    assert code == 0 and told.AssignedClientIdentifier != ''
    peer.leave()
    old = Peer(mqtt.MQTTv311, client_id='')
    assert old.connect()[1] == 0
    old.leave()


def check_properties_of_a_publish():
    topic = unique()
    peer = connected()
    peer.subscribe(topic, 1, properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=7))
    block = properties(
        PacketTypes.PUBLISH, PayloadFormatIndicator=1, MessageExpiryInterval=100, ContentType='text/plain',
        ResponseTopic='replies/1', CorrelationData=b'\x00\xff',
    )
    block.UserProperty = [('a', '1'), ('a', '2'), ('b', 'é')]
    peer.client.publish(topic, 'body', 1, properties=block)
    (message,) = peer.receive()
    told = message.properties
    assert (told.PayloadFormatIndicator, told.ContentType, told.ResponseTopic) == (1, 'text/plain', 'replies/1')
    assert (told.CorrelationData, told.UserProperty) == (b'\x00\xff', [('a', '1'), ('a', '2'), ('b', 'é')])
    assert told.SubscriptionIdentifier == [7]
    assert 98 <= told.MessageExpiryInterval <= 100
    peer.leave()


def check_overlapping_subscriptions_deliver_once():
    topic = unique()
    peer = connected()
    peer.subscribe(f'{topic}/#', 0, properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=1))
    peer.subscribe(f'{topic}/+', 2, properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=2))
    peer.publish(f'{topic}/a', b'x', 2)
    (message,) = peer.receive()
    assert (message.qos, sorted(message.properties.SubscriptionIdentifier)) == (2, [1, 2])
    assert peer.silent()
    peer.leave()


def check_no_local_and_unsubscribe():
    topic = unique()
    peer, other = connected(), connected()
    peer.subscribe(topic, 1, noLocal=True)
    peer.publish(topic, b'own', 1)
    other.publish(topic, b'other', 1)
    assert peer.bodies() == [b'other']
    codes = peer.unsubscribe([topic, 'never'])
    assert [value(code) for code in codes] == [0, 0x11]
    other.publish(topic, b'other', 1)
    assert peer.silent()
    for each in (peer, other):
        each.leave()


def check_take_over_of_a_client_id():
    for version in (mqtt.MQTTv311, mqtt.MQTTv5):
        client_id = unique()
        first = Peer(version, client_id, clean=False, **({} if version == mqtt.MQTTv5 else {'reconnect_on_failure': False}))
        first.client._reconnect_on_failure = False
        first.connect()
        second = Peer(version, client_id, clean=False)
        present, code, _ = second.connect()
        assert (present, code) == (True, 0)
        told = value(first.ends.get(timeout=PATIENCE))
        assert told == (0x8E if version == mqtt.MQTTv5 else mqtt.MQTT_ERR_CONN_LOST), told
        second.leave()


def check_session_expiry_by_connect_and_disconnect():
    client_id = unique()
    peer = Peer(client_id=client_id, clean=False)
    peer.connect(expiry=30)
    peer.leave()
    peer = Peer(client_id=client_id, clean=False)
    assert peer.connect(expiry=30)[0] is True
    peer.client.disconnect(properties=properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0))
    peer.ends.get(timeout=PATIENCE)
    peer = Peer(client_id=client_id, clean=False)
    assert peer.connect(expiry=0)[0] is False
    peer.leave()
    peer = Peer(client_id=client_id, clean=False)
    assert peer.connect(expiry=0)[0] is False
    peer.leave()


def check_messages_expire_in_a_session():
    topic = unique()
    peer = Peer(clean=False)
    peer.connect()
    peer.subscribe(topic, 1)
    peer.leave()
    publisher = connected()
    publisher.publish(topic, b'short', 1, MessageExpiryInterval=1)
    publisher.publish(topic, b'long', 1, MessageExpiryInterval=600)
    publisher.leave()
    time.sleep(1.5)  # the broker's clock is the subject
    again = Peer(client_id=peer.client_id, clean=False)
    again.connect()
    (message,) = again.receive()
    assert message.payload == b'long' and message.properties.MessageExpiryInterval < 600
    assert again.silent()
    again.leave()


def check_receive_maximum_and_maximum_packet_size():
    topic = unique()
    peer = Peer()
    peer.connect(ReceiveMaximum=1, MaximumPacketSize=200)
    peer.subscribe(topic, 2)
    publisher = connected()
    publisher.publish(topic, b'x' * 300, 1)
    for i in range(20):
        publisher.publish(topic, f'{i}', 2)
    assert peer.bodies(20) == [f'{i}'.encode() for i in range(20)]
    peer.leave()
    publisher.leave()


def check_topic_aliases_of_the_client():
    topic = unique()
    peer = Peer()
    told = peer.connect()[2]
    assert told.TopicAliasMaximum >= 1
    peer.subscribe(topic, 1)
    peer.publish(topic, b'1', 1, TopicAlias=1)
    peer.client.publish('', b'2', 1, properties=properties(PacketTypes.PUBLISH, TopicAlias=1))
    assert peer.bodies(2) == [b'1', b'2']
    peer.leave()


def check_dollar_topics_and_system_topics():
    peer = connected()
    peer.subscribe('#', 0)
    peer.subscribe('$SYS/broker/version', 0)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        (message,) = peer.receive()
        if message.topic.startswith('$'):
            break
    assert message.topic == '$SYS/broker/version' and message.payload.startswith(b'RosettaMQ')
    peer.leave()


def check_websocket():
    peer = Peer(mqtt.MQTTv311, transport='websockets')
    peer.client.ws_set_options(path='/ws')
    global PORT
    tcp, PORT = PORT, int(sys.argv[3])
    assert peer.connect()[1] == 0
    PORT = tcp
    topic = unique()
    peer.subscribe(topic, 1)
    body = b'x' * 100000
    peer.publish(topic, body, 1)
    assert peer.bodies() == [body]
    peer.leave()


globals()[f'check_{sys.argv[2]}']()
