// Adds jobs to a BullMQ queue and does them with one worker; prints the seconds as JSON. For features.py.
'use strict';

const { Queue, Worker } = require('bullmq');

const CONCURRENCY = 20;
const BATCH = 500;
const [port, jobs] = process.argv.slice(2).map(Number);
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };

async function main() {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const started = process.hrtime.bigint();
  for (let first = 0; first < jobs; first += BATCH) {
    const count = Math.min(BATCH, jobs - first);
    await queue.addBulk(Array.from({ length: count }, (_, number) => ({ name: 'job', data: { number: first + number } })));
  }
  let done = 0;
  const worker = new Worker('bench', async () => {}, { connection, concurrency: CONCURRENCY });
  await new Promise((resolve, reject) => {
    worker.on('failed', (_, error) => reject(error));
    worker.on('completed', () => ++done === jobs && resolve());
  });
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
  console.log(JSON.stringify({ seconds }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
