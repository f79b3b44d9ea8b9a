// The back end 4, a Discord analytics service on ioredis: cache-aside with tags, statistics, messages, middlewares.
'use strict';

const assert = require('node:assert/strict');
const { rateLimit } = require('express-rate-limit');
const { RedisStore } = require('rate-limit-redis');
const { RateLimiterRedis } = require('rate-limiter-flexible');
const Redlock = require('redlock');
const { connect, direct, waitUntil } = require('./scenario');

const report = (number) => JSON.stringify({ guild: number, members: 'x'.repeat(400), at: number * 1000 });

// SET EX and SADD of the tag in one pipeline; SMEMBERS and DEL invalidate.
async function cacheWithTags() {
  const client = connect();
  const writes = client.pipeline();
  for (let number = 0; number < 500; number++) {
    writes.set(`report:${number}`, report(number), 'EX', 300).sadd(`tag:guild:${number % 10}`, `report:${number}`);
  }
  assert.ok((await writes.exec()).every(([error]) => error === null));
  await direct('chill');
  await direct('restart');
  assert.equal(await client.get('report:123'), report(123));
  const left = await client.ttl('report:123');
  assert.ok(left > 200 && left <= 300, left);
  const members = await client.smembers('tag:guild:3');
  assert.equal(members.length, 50);
  const removal = client.pipeline().del(...members).del('tag:guild:3');
  assert.deepEqual(await removal.exec(), [[null, 50], [null, 1]]);
  assert.equal(await client.get('report:123'), null);
  assert.equal(await client.get('report:124'), report(124));
  const stream = client.scanStream({ match: 'report:*', count: 100 });
  let count = 0;
  for await (const keys of stream) {
    count += keys.length;
    if (keys.length) await client.unlink(keys);
  }
  assert.equal(count, 450);
}

// What its dashboard parses out of INFO.
async function statistics() {
  const client = connect();
  await client.set('seen', 1);
  await client.get('seen');
  await client.get('never seen');
  const information = await client.info();
  const field = (name) => information.match(new RegExp(`^${name}:(.*)\\r$`, 'm'))?.[1];
  assert.ok(Number(field('keyspace_hits')) >= 1 && Number(field('keyspace_misses')) >= 1);
  assert.match(field('used_memory_human'), /^\d+(\.\d+)?[BKMGT]$/);
  assert.match(field('evicted_keys'), /^\d+$/);
  assert.equal(field('loading'), '0');
  assert.equal(Number(field('db0').match(/keys=(\d+)/)[1]), await client.dbsize());
  await client.del('seen');
}

async function messages() {
  const [listener, teller] = [connect(), connect()];
  const received = [];
  listener.on('message', (channel, text) => received.push([channel, text]));
  listener.on('pmessage', (pattern, channel, text) => received.push([pattern, channel, text]));
  assert.equal(await listener.subscribe('guild:7', 'guild:8'), 2);
  assert.equal(await listener.psubscribe('voice:*'), 3);
  assert.equal(await teller.publish('guild:7', 'joined'), 1);
  assert.equal(await teller.publish('voice:9', 'speaking'), 1);
  assert.equal(await teller.publish('guild:9', 'nobody'), 0);
  await waitUntil('both arrive', () => received.length === 2);
  assert.deepEqual(received, [['guild:7', 'joined'], ['voice:*', 'voice:9', 'speaking']]);
  // ioredis subscribes anew after a restart.
  await direct('restart');
  await waitUntil('it listens again', async () => (await teller.publish('guild:8', 'again')) === 1);
  await waitUntil('it hears', () => received.some(([channel]) => channel === 'guild:8'));
}

async function transactionsAndScripts() {
  const client = connect();
  await client.mset('left', 1, 'right', 2);
  await direct('chill');
  const replies = await client.multi().incr('left').append('right', '5').lpush('left', 'x').exec();
  assert.equal(replies[0][1], 2);
  assert.equal(replies[1][1], 2);
  assert.match(replies[2][0].message, /^WRONGTYPE/);
  client.defineCommand('moveAmount', {
    numberOfKeys: 2,
    lua: `local amount = tonumber(ARGV[1])
          redis.call('DECRBY', KEYS[1], amount)
          return {KEYS[1], redis.call('INCRBY', KEYS[2], amount), cjson.encode({moved = amount})}`,
  });
  assert.deepEqual(await client.moveAmount('right', 'left', 5), ['right', 7, '{"moved":5}']);
  await client.script('FLUSH');
  assert.deepEqual(await client.moveAmount('right', 'left', 5), ['right', 12, '{"moved":5}']);
  assert.deepEqual(await client.mget('left', 'right'), ['12', '15']);
  await client.del('left', 'right');
}

// express-rate-limit with rate-limit-redis, which loads its scripts and calls them by their hashes.
async function expressMiddleware() {
  const client = connect();
  const store = new RedisStore({ sendCommand: (...words) => client.call(...words), prefix: 'express:' });
  const middleware = rateLimit({ windowMs: 60_000, limit: 5, store, legacyHeaders: false, validate: false });
  const statuses = [];
  for (let request = 0; request < 8; request++) {
    if (request === 3) await direct('chill');
    if (request === 4) await client.script('FLUSH');
    await new Promise((resolve, reject) => {
      const response = {
        headersSent: false,
        setHeader() {},
        append() {},
        on() {},
        status(code) {
          statuses.push(code);
          return this;
        },
        send: resolve,
      };
      const next = (error) => (error ? reject(error) : resolve(statuses.push('next')));
      middleware({ ip: '10.0.0.7', method: 'GET', headers: {}, app: { get() {} } }, response, next);
    });
  }
  assert.deepEqual(statuses, ['next', 'next', 'next', 'next', 'next', 429, 429, 429]);
  assert.equal((await store.get('10.0.0.7')).totalHits, 8);
  await store.resetKey('10.0.0.7');
  assert.equal(await client.exists('express:10.0.0.7'), 0);
}

async function rateLimiterFlexible() {
  const client = connect();
  const limiter = new RateLimiterRedis({ storeClient: client, keyPrefix: 'flexible', points: 5, duration: 60 });
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => limiter.consume('user 7')));
  assert.equal(results.filter((result) => result.status === 'fulfilled').length, 5);
  await direct('chill');
  const refused = await limiter.consume('user 7').catch((problem) => problem);
  assert.ok(refused.msBeforeNext > 50_000 && refused.consumedPoints === 9, JSON.stringify(refused));
  assert.equal((await limiter.get('user 7')).remainingPoints, 0);
  assert.equal(await limiter.delete('user 7'), true);
  assert.equal((await limiter.consume('user 7')).remainingPoints, 4);
  await limiter.delete('user 7');
}

async function redlock() {
  const client = connect();
  const redlock = new Redlock([client], { retryCount: 2, retryDelay: 20, retryJitter: 5 });
  const lock = await redlock.lock(['lock:left', 'lock:right'], 10_000);
  await assert.rejects(redlock.lock('lock:right', 1000), { name: 'LockError' });
  await direct('chill');
  const longer = await lock.extend(60_000);
  assert.ok((await client.pttl('lock:left')) > 50_000);
  await longer.unlock();
  assert.equal(await client.exists('lock:left', 'lock:right'), 0);
  const other = await redlock.lock('lock:right', 10_000);
  await other.unlock();
}

module.exports = {
  ioredis_cache_with_tags: cacheWithTags,
  ioredis_statistics: statistics,
  ioredis_messages: messages,
  ioredis_transactions_and_scripts: transactionsAndScripts,
  express_rate_limit: expressMiddleware,
  rate_limiter_flexible: rateLimiterFlexible,
  redlock,
};
