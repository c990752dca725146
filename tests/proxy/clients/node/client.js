// SPDX-License-Identifier: Apache-2.0
//
// node-postgres as a client: what a PostgreSQL server can be asked, and what
// came of it, on standard output. Where to connect comes from PGHOST and the
// like. Expects schema.sql.
'use strict';

const { once } = require('node:events');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const pg = require('pg');
const copy = require('pg-copy-streams');
const Cursor = require('pg-cursor');
const QueryStream = require('pg-query-stream');

const CANCEL_EVERY_MS = 200;

function title(text) {
  console.log(`== ${text}`);
}

function brief(value) {
  const text = JSON.stringify(value);
  if (text === undefined || text.length <= 300) return text;
  let sum = 0;
  for (const byte of Buffer.from(text)) sum = (sum * 31 + byte) >>> 0;
  return `<${text.length} characters, ${sum.toString(16)}>`;
}

function note(message) {
  console.log('  notice', message.severity, message.code, message.message,
    message.hint);
}

async function connect(more) {
  const client = new pg.Client(more);
  client.on('notice', note);
  // A connection that ends is told by the query, too.
  client.on('error', () => {});
  await client.connect();
  return client;
}

function tellError(error) {
  console.log('  ', error.name, error.code, error.message);
  for (const name of ['severity', 'detail', 'hint', 'position', 'where',
    'schema', 'table', 'column', 'dataType', 'constraint', 'routine']) {
    if (error[name] !== undefined) console.log(`    ${name}: ${error[name]}`);
  }
}

function show(result) {
  for (const one of [].concat(result)) {
    console.log('  ', one.command, one.rowCount,
      brief(one.fields.map((field) => [field.name, field.dataTypeID])));
    for (const row of one.rows) console.log('    ', brief(row));
  }
}

async function run(client, query, values) {
  console.log('>', brief(query), values ? brief(values) : '');
  try {
    show(await client.query(query, values));
  } catch (error) {
    tellError(error);
  }
}

async function session() {
  title('session');
  const client = new pg.Client({ application_name: 'exercise',
    options: '-c work_mem=8MB' });
  const parameters = [];
  client.connection.on('parameterStatus', (message) => {
    parameters.push(`${message.parameterName}: ${message.parameterValue}`);
  });
  await client.connect();
  const pid = await client.query('SELECT pg_backend_pid() AS pid');
  console.log('   own process known:', pid.rows[0].pid === client.processID);
  await run(client, 'SHOW work_mem');
  await run(client, "SET TimeZone = 'Asia/Tokyo'");
  console.log(parameters.sort().join('\n'));
  await client.end();
}

async function simple(client) {
  title('simple');
  await run(client, 'SELECT * FROM item ORDER BY id');
  await run(client, 'SELECT 1 AS a; SELECT 2 AS b, 3 AS c');
  await run(client, 'SELECT 1; SELECT 1 / 0; SELECT 2');
  await run(client, '');
  await run(client, "INSERT INTO log (txt) VALUES ('a'), ('b') RETURNING txt");
  await run(client, 'DELETE FROM log');
  await run(client, 'SELECT notes(2)');
  await run(client, "SELECT fails('on purpose')");
  await run(client, 'INSERT INTO line VALUES (1, 2)');
  await run(client, 'CALL commits(2)');
  await run(client, 'VACUUM log');
  await run(client, 'DELETE FROM log');
  await run(client, { text: 'SELECT 1, 2', rowMode: 'array' });
}

async function extended(client) {
  title('extended');
  await run(client, 'SELECT name FROM item WHERE id = $1', [2]);
  await run(client, 'INSERT INTO log (txt) VALUES ($1)', ['ä']);
  await run(client, 'SELECT txt FROM log WHERE txt = $1', ['ä']);
  await run(client, 'SELECT notes($1)', [1]);
  await run(client, 'SELECT 1 / $1::int', [0]);
  await run(client, 'INSERT INTO line VALUES (1, $1)', [2]);
  await run(client, 'CALL commits($1)', [1]);
  await run(client, 'SELECT * FROM nowhere WHERE id = $1', [1]);
  await run(client, 'SELECT $1::int', ['x']);
  await run(client, 'DELETE FROM log WHERE $1', [true]);
  for (const id of [1, 2, 3]) {
    await run(client, { name: 'by id', text: 'SELECT * FROM item WHERE id = $1',
      values: [id] });
  }
  await run(client, { name: 'wrong', text: 'SELEC' });
  await run(client, { name: 'wrong', text: 'SELECT 1' });
  await run(client, { text: 'SELECT id, name FROM item ORDER BY id',
    values: [], binary: true });
  const values = [null, true, 1, 1.5, '2', 'x\'\\y☃', Buffer.from([0, 255]),
    new Date(Date.UTC(2026, 0, 1, 12)), [1, null, 2], { a: [1, null] }];
  const types = ['int', 'bool', 'int', 'float8', 'numeric', 'text', 'bytea',
    'timestamptz', 'int[]', 'jsonb'];
  for (const [i, value] of values.entries()) {
    await run(client, `SELECT $1::${types[i]} AS v`, [value]);
  }

  title('5 MB');
  await run(client, 'INSERT INTO big VALUES (1, $1)',
    ['x'.repeat(5 * 1024 * 1024)]);
  await run(client, 'SELECT txt, length(txt) FROM big');
  await run(client, 'DELETE FROM big');

  title('queued');
  // All are sent before the first is answered, one behind the other's answer.
  const answers = await Promise.allSettled([1, 0, 2].map(
    (by) => client.query('SELECT 10 / $1::int AS v', [by])));
  for (const answer of answers) {
    console.log('  ', answer.status,
      brief(answer.value ? answer.value.rows : answer.reason.code));
  }
}

async function transactions(client) {
  title('transactions');
  await run(client, 'BEGIN');
  await run(client, "INSERT INTO log (txt) VALUES ('kept')");
  await run(client, 'SAVEPOINT a');
  await run(client, 'SELECT 1 / $1::int', [0]);
  await run(client, 'SELECT 1');
  await run(client, 'SELECT $1::int', [1]);
  await run(client, 'ROLLBACK TO a');
  await run(client, 'COMMIT');
  await run(client, 'SELECT txt FROM log');
  await run(client, 'BEGIN');
  await run(client, 'INSERT INTO line VALUES (1, 3)');
  await run(client, 'COMMIT');
  await run(client, 'COMMIT');
  await run(client, 'DELETE FROM log');
}

async function portals(client) {
  title('portals');
  const cursor = client.query(new Cursor('SELECT id, name FROM item ORDER BY id'));
  console.log('  ', brief(await cursor.read(2)));
  console.log('  ', brief(await cursor.read(2)));
  console.log('  ', brief(await cursor.read(2)));
  await cursor.close();
  const early = client.query(new Cursor('SELECT generate_series(1, $1::int)',
    [100]));
  console.log('  ', brief(await early.read(3)));
  await early.close();
  const failing = client.query(new Cursor(
    'SELECT 1 / (3 - i) AS v FROM generate_series(1, 5) AS i'));
  try {
    console.log('  ', brief(await failing.read(2)));
    console.log('  ', brief(await failing.read(2)));
  } catch (error) {
    tellError(error);
  }
  await run(client, 'SELECT 1');
  let sum = 0;
  const stream = client.query(new QueryStream(
    'SELECT i FROM generate_series(1, $1::int) AS i', [1000],
    { batchSize: 100 }));
  for await (const row of stream) sum += row.i;
  console.log('  ', sum);
}

async function copies(client) {
  title('COPY');
  const out = client.query(copy.to('COPY item TO STDOUT'));
  let text = '';
  for await (const chunk of out) text += chunk;
  console.log(text);
  const lines = Array.from({ length: 20000 },
    (_, i) => `${i}\t${'z'.repeat(100)}\n`);
  const into = client.query(copy.from('COPY big FROM STDIN'));
  await pipeline(Readable.from(lines), into);
  console.log('  ', into.rowCount);
  await run(client, 'SELECT count(*), sum(length(txt)) FROM big');
  try {
    await pipeline(Readable.from(['x\ty\n']),
      client.query(copy.from('COPY big FROM STDIN')));
  } catch (error) {
    tellError(error);
  }
  await run(client, 'DELETE FROM big');
}

async function notifications() {
  title('notifications');
  const [client, other] = [await connect(), await connect()];
  const heard = [];
  client.on('notification', (message) => heard.push([message.channel,
    message.payload, message.processId === other.processID]));
  await run(client, 'LISTEN news');
  await run(other, "NOTIFY news, 'told'");
  await run(other, "SELECT pg_notify('news', $1)", ['by a function']);
  if (heard.length === 0) await once(client, 'notification');
  await run(client, "NOTIFY news, 'own'");
  for (const one of heard) console.log('  ', brief(one));
  await client.end();
  await other.end();
}

async function cancel() {
  title('cancel');
  const client = await connect();
  // A request that comes before the statement does nothing. node-postgres has
  // a way to make one, but none to wait for its end.
  const timer = setInterval(() => {
    const other = new pg.Client();
    other.on('error', () => {});
    other.connection.on('error', () => {});
    other.cancel(client, client._activeQuery || client.activeQuery);
  }, CANCEL_EVERY_MS);
  await run(client, 'SELECT pg_sleep($1)', [600]);
  clearInterval(timer);
  await client.end();
}

async function pools() {
  title('pool');
  const pool = new pg.Pool({ max: 2 });
  for (const number of [1, 2, 3]) {
    const client = await pool.connect();
    await run(client, 'SELECT $1::int + 1 AS v', [number]);
    client.release();
  }
  await run(pool, 'SELECT count(*) FROM item');
  await pool.end();
}

async function lost() {
  title('server goes away, reconnect');
  let client = await connect();
  await run(client, 'SELECT pg_terminate_backend(pg_backend_pid())');
  client = await connect();
  await run(client, "SELECT 'again' AS v");
  await client.end();
  try {
    await connect({ database: 'sqloom_does_not_exist' });
  } catch (error) {
    tellError(error);
  }
}

// Without a transaction: "insert". In one: "update"; "locked" asks for the row
// first. The test runs two of them.
async function race(kind) {
  const client = await connect();
  if (kind === 'insert') {
    await run(client, 'INSERT INTO log (txt) SELECT $1::text WHERE NOT EXISTS '
      + '(SELECT FROM log WHERE txt = $1)', ['once']);
  } else {
    await client.query('BEGIN');
    const { rows } = await client.query('SELECT price FROM item WHERE id = $1'
      + (kind === 'locked' ? ' FOR UPDATE' : ''), [1]);
    await client.query('UPDATE item SET price = $1 WHERE id = $2',
      [Number(rows[0].price) + 1, 1]);
    await client.query('COMMIT');
  }
  await client.end();
}

async function main() {
  await session();
  const client = await connect();
  await simple(client);
  await extended(client);
  await transactions(client);
  await portals(client);
  await copies(client);
  await client.end();
  await notifications();
  await cancel();
  await pools();
  await lost();
  title('end');
}

if (process.argv.length > 2) race(process.argv[2]);
else main();
