// BullMQ: queues in lists, sorted sets, hashes and a stream of events, all moved by Lua scripts that name their keys
// themselves; no hash tag, no flag of the server.
'use strict';

const assert = require('node:assert/strict');
const { FlowProducer, Queue, QueueEvents, Worker } = require('bullmq');
const { closeLater, direct, settings, sleep, waitUntil } = require('./scenario');

const connection = () => settings({ maxRetriesPerRequest: null, retryStrategy: () => 50 });

// Those of a queue that a scenario uses, closed at its end.
function queueOf(name) {
  const queue = new Queue(name, { connection: connection() });
  const events = new QueueEvents(name, { connection: connection() });
  for (const part of [queue, events]) {
    part.on('error', () => {});
    closeLater(() => part.close());
  }
  return { queue, events };
}

function workerOf(name, handler, options = {}) {
  const worker = new Worker(name, handler, { connection: connection(), ...options });
  worker.on('error', () => {});
  closeLater(() => worker.close(true));
  return worker;
}

// Half of the jobs are done before the server is killed, half after; one fails and is tried again, one fails for good.
async function jobs() {
  const { queue, events } = queueOf('thumbnails');
  await events.waitUntilReady();
  await queue.addBulk(Array.from({ length: 100 }, (_, number) => ({ name: 'resize', data: { number } })));
  const flaky = await queue.add('flaky', {}, { attempts: 3, backoff: { type: 'fixed', delay: 50 } });
  const hopeless = await queue.add('hopeless', {}, { attempts: 2 });
  await direct('chill');
  const done = [];
  const handler = async (job) => {
    if (job.name === 'hopeless' || (job.name === 'flaky' && job.attemptsMade === 0)) throw new Error('no luck');
    if (job.name === 'resize') done.push(job.data.number);
    return job.name === 'resize' ? job.data.number * 2 : 'in the end';
  };
  const first = workerOf('thumbnails', handler);
  await waitUntil('half is done', () => done.length >= 50);
  await first.close();
  assert.equal(await queue.getActiveCount(), 0);
  await direct('chill');
  await direct('restart');
  workerOf('thumbnails', handler, { concurrency: 4 });
  assert.equal(await flaky.waitUntilFinished(events, 20_000), 'in the end');
  await waitUntil('all are done', async () => (await queue.getCompletedCount()) === 101 && (await queue.getFailedCount()) === 1);
  assert.deepEqual(done.sort((a, b) => a - b), Array.from({ length: 100 }, (_, number) => number));
  assert.equal((await queue.getJob(hopeless.id)).failedReason, 'no luck');
  const counts = await queue.getJobCounts('waiting', 'active', 'completed', 'failed', 'delayed');
  assert.deepEqual(counts, { waiting: 0, paused: 0, active: 0, completed: 101, failed: 1, delayed: 0 });
  await queue.obliterate({ force: true });
}

async function delayedAndPrioritized() {
  const { queue } = queueOf('mails');
  const order = [];
  const late = await queue.add('late', {}, { delay: 3_600_000 });
  await queue.add('low', {}, { priority: 10 });
  await queue.add('high', {}, { priority: 1 });
  await queue.add('at once', {});
  assert.equal(await late.getState(), 'delayed');
  await direct('chill');
  workerOf('mails', async (job) => order.push(job.name));
  await waitUntil('those that need not wait are sent', () => order.length === 3);
  await late.changeDelay(300);
  await waitUntil('all are sent', () => order.length === 4);
  assert.deepEqual(order, ['at once', 'high', 'low', 'late']);
  await queue.obliterate({ force: true });
}

// A job scheduler (repeatable jobs) and a rate limit.
async function repeatableAndLimited() {
  const { queue } = queueOf('reports');
  const limited = [];
  let ticks = 0;
  await queue.upsertJobScheduler('every', { every: 200 }, { name: 'tick' });
  workerOf('reports', async (job) => (job.name === 'tick' ? ticks++ : null));
  await waitUntil('it repeats', () => ticks >= 3);
  assert.equal((await queue.getJobSchedulers()).length, 1);
  assert.equal(await queue.removeJobScheduler('every'), true);
  const slow = queueOf('exports').queue;
  await slow.addBulk(Array.from({ length: 6 }, () => ({ name: 'export', data: {} })));
  workerOf('exports', async (job) => limited.push(job.processedOn), { limiter: { max: 2, duration: 300 } });
  await waitUntil('all are exported', () => limited.length === 6);
  // Never more than two within a window, so the sixth comes two windows after the first; one is enough to prove it.
  assert.ok(limited[5] - limited[0] >= 300, limited.map((time) => time - limited[0]).join());
  await queue.obliterate({ force: true });
  await slow.obliterate({ force: true });
}

// A parent waits for its children and sees their results.
async function flows() {
  const { queue, events } = queueOf('albums');
  const tracks = queueOf('tracks');
  await events.waitUntilReady();
  const producer = new FlowProducer({ connection: connection() });
  producer.on('error', () => {});
  closeLater(() => producer.close());
  const children = Array.from({ length: 5 }, (_, number) => ({ name: 'encode', queueName: 'tracks', data: { number } }));
  const { job } = await producer.add({ name: 'publish', queueName: 'albums', data: {}, children });
  assert.equal(await job.getState(), 'waiting-children');
  await direct('chill');
  workerOf('albums', async (parent) => Object.values(await parent.getChildrenValues()).reduce((a, b) => a + b, 0));
  await sleep(100);
  assert.equal(await job.getState(), 'waiting-children');
  workerOf('tracks', async (child) => child.data.number * 10);
  assert.equal(await job.waitUntilFinished(events, 20_000), 100);
  await queue.obliterate({ force: true });
  await tracks.queue.obliterate({ force: true });
}

module.exports = {
  bullmq_jobs: jobs,
  bullmq_delayed_and_prioritized: delayedAndPrioritized,
  bullmq_repeatable_and_limited: repeatableAndLimited,
  bullmq_flows: flows,
};
