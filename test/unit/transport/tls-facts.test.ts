import { expect, test } from 'vitest';
import { readSuite } from '../../../src/transport/tls-facts.ts';

test.each([
  ['TLS_AES_256_GCM_SHA384', 'any', 'aes_256_gcm', 'aead'],
  ['TLS_CHACHA20_POLY1305_SHA256', 'any', 'chacha20_poly1305', 'aead'],
  ['TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256', 'ecdhe_rsa', 'aes_128_gcm', 'aead'],
  ['TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384', 'ecdhe_ecdsa', 'aes_256_cbc', 'sha384'],
  ['TLS_RSA_WITH_AES_128_CBC_SHA', 'rsa', 'aes_128_cbc', 'sha'],
])('%s: its parts as RabbitMQ names them', (suite, keyExchange, cipher, hash) => {
  expect(readSuite(suite)).toEqual({ keyExchange, cipher, hash });
});
