// What all the Node scenarios use: connections, the stage, and the run with one line for each scenario.
'use strict';

const assert = require('node:assert/strict');
const net = require('node:net');
const { setTimeout: sleep } = require('node:timers/promises');
const Redis = require('ioredis');
const nodeRedis = require('redis');

// No scenario may take longer.
const SCENARIO_MS = 60_000;
const PORT = Number(process.env.LARDER_PORT);
const PASSWORD = process.env.LARDER_PASSWORD;

// Tells the stage to 'chill' the keys, 'clean' up or 'restart' the server.
function direct(order) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(process.env.LARDER_CONTROL_PORT), '127.0.0.1');
    let answer = '';
    socket.setTimeout(SCENARIO_MS, () => socket.destroy(new Error(`no answer to ${order}`)));
    socket.on('connect', () => socket.write(order + '\n'));
    socket.on('data', (data) => {
      answer += data;
      if (answer.endsWith('\n')) socket.end();
    });
    socket.on('error', reject);
    socket.on('close', () => (answer.trim() === 'ok' ? resolve() : reject(new Error(answer))));
  });
}

const settings = (options = {}) => ({ host: '127.0.0.1', port: PORT, password: PASSWORD, ...options });

// What the running scenario has opened; closed at its end, also if it failed.
let opened = [];

// A connection of ioredis; while the server restarts it tries again.
function connect(options = {}) {
  const client = new Redis(settings({ retryStrategy: () => 50, ...options }));
  client.on('error', () => {});
  opened.push(() => client.disconnect());
  return client;
}

// A connection of node-redis.
async function connectNodeRedis(options = {}) {
  const client = nodeRedis.createClient({
    url: `redis://127.0.0.1:${PORT}`,
    password: PASSWORD,
    socket: { reconnectStrategy: 50 },
    ...options,
  });
  client.on('error', () => {});
  opened.push(() => client.destroy());
  return client.connect();
}

function closeLater(close) {
  opened.push(close);
}

async function waitUntil(what, condition) {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, `waited in vain: ${what}`);
    await sleep(10);
  }
}

// The line of ours in which an error arose.
function place(error) {
  const line = String(error.stack).split('\n').find((text) => text.includes(__dirname) && !text.includes(__filename));
  return line ? line.replace(/.*\/([^/]+:\d+):\d+\)?$/, '$1') : '?';
}

async function runOne(name, scenario) {
  console.log('RUN', name);
  const timer = new AbortController();
  try {
    const late = sleep(SCENARIO_MS, null, { signal: timer.signal }).then(() => {
      throw new Error('the time is up');
    });
    await direct('clean');
    await Promise.race([scenario(), late]);
    console.log('OK', name);
    return true;
  } catch (error) {
    console.error(name, error);
    console.log('FAILED', `${name}: ${place(error)}: ${error}`.replaceAll('\n', ' '));
    return false;
  } finally {
    timer.abort();
    for (const close of opened.reverse()) {
      try {
        await Promise.race([close(), sleep(2000)]);
      } catch {
        // It was closed already.
      }
    }
    opened = [];
  }
}

async function runAll(scenarios) {
  let good = true;
  // Calls that a failed scenario left behind must not end the others.
  process.on('unhandledRejection', (reason) => console.error(reason));
  for (const [name, scenario] of Object.entries(scenarios)) {
    if (name.includes(process.env.LARDER_ONLY || '')) good = (await runOne(name, scenario)) && good;
  }
  process.exit(good ? 0 : 1);
}

module.exports = { PORT, closeLater, connect, connectNodeRedis, direct, runAll, settings, sleep, waitUntil };
