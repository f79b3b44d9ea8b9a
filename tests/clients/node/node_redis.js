// node-redis in RESP2 and RESP3: the types of its replies, transactions, blocking calls, streams and messages.
'use strict';

const assert = require('node:assert/strict');
const { WatchError } = require('redis');
const { connectNodeRedis, direct, waitUntil } = require('./scenario');

async function collections(RESP) {
  const client = await connectNodeRedis({ RESP });
  await client.hSet('profile', { name: 'Ada', visits: 3 });
  await client.zAdd('board', [{ score: 1.5, value: 'a' }, { score: 2, value: 'b' }]);
  await client.sAdd('tags', ['red', 'green']);
  await direct('chill');
  assert.deepEqual({ ...(await client.hGetAll('profile')) }, { name: 'Ada', visits: '3' });
  assert.deepEqual(await client.zRangeWithScores('board', 0, -1), [{ value: 'a', score: 1.5 }, { value: 'b', score: 2 }]);
  assert.equal(await client.zScore('board', 'b'), 2);
  assert.deepEqual(new Set(await client.sMembers('tags')), new Set(['red', 'green']));
  assert.equal(await client.get('no such key'), null);
  const replies = await client.multi().incr('counter').hIncrBy('profile', 'visits', 1).get('counter').exec();
  assert.deepEqual(replies, [1, 4, '1']);
  const found = [];
  for await (const keys of client.scanIterator({ MATCH: 'pro*', COUNT: 100 })) found.push(...keys);
  assert.deepEqual(found, ['profile']);
  const sum = await client.eval("return redis.call('GET', KEYS[1]) + ARGV[1]", { keys: ['counter'], arguments: ['41'] });
  assert.equal(sum, 42);
  await client.del(['profile', 'board', 'tags', 'counter']);
}

async function watch() {
  const [client, rival] = [await connectNodeRedis(), await connectNodeRedis()];
  await client.set('watched', '1');
  await direct('chill');
  await client.watch('watched');
  await rival.set('watched', '2');
  await assert.rejects(client.multi().set('watched', '3').exec(), WatchError);
  assert.equal(await client.get('watched'), '2');
  await client.del('watched');
}

async function blockingAndMessages(RESP) {
  const [client, waiting, listener] = await Promise.all([1, 2, 3].map(() => connectNodeRedis({ RESP })));
  const popped = waiting.blPop(['inbox', 'outbox'], 15);
  await waitUntil('it waits', async () => (await client.info('clients')).includes('blocked_clients:1\r'));
  await client.rPush('outbox', 'letter');
  assert.deepEqual({ ...(await popped) }, { key: 'outbox', element: 'letter' });
  const received = [];
  await listener.subscribe('news', (text, channel) => received.push([channel, text]));
  await listener.pSubscribe('sport.*', (text, channel) => received.push([channel, text]));
  assert.equal(await client.publish('news', 'one'), 1);
  assert.equal(await client.publish('sport.golf', 'two'), 1);
  await waitUntil('both arrive', () => received.length === 2);
  assert.deepEqual(received, [['news', 'one'], ['sport.golf', 'two']]);
}

async function streamOfEvents(RESP) {
  const client = await connectNodeRedis({ RESP });
  await client.xGroupCreate('clicks', 'readers', '0', { MKSTREAM: true });
  for (let number = 0; number < 50; number++) await client.xAdd('clicks', '*', { number: String(number) });
  await direct('chill');
  await direct('restart');
  let seen = 0;
  while (seen < 50) {
    const reply = await client.xReadGroup('readers', 'one', { key: 'clicks', id: '>' }, { COUNT: 20, BLOCK: 1000 });
    const messages = Array.isArray(reply) ? reply[0].messages : Object.values(reply)[0];
    for (const { id, message } of messages) {
      assert.equal(message.number, String(seen++));
      assert.equal(await client.xAck('clicks', 'readers', id), 1);
    }
  }
  assert.equal((await client.xPending('clicks', 'readers')).pending, 0);
  assert.equal(await client.xLen('clicks'), 50);
  await client.del('clicks');
}

module.exports = {
  node_redis_collections_resp2: () => collections(2),
  node_redis_collections_resp3: () => collections(3),
  node_redis_watch: watch,
  node_redis_blocking_and_messages_resp2: () => blockingAndMessages(2),
  node_redis_blocking_and_messages_resp3: () => blockingAndMessages(3),
  node_redis_stream_resp2: () => streamOfEvents(2),
};
