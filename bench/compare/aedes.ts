import { createServer } from 'node:net';
import { Aedes } from 'aedes';

// The peer of that name, on the port of its first argument.
const aedes = await Aedes.createBroker();
createServer(aedes.handle).listen(Number(process.argv[2]), '127.0.0.1');
