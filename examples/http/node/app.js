// SPDX-License-Identifier: Apache-2.0
//
// The application of ../app.py for Node: a coupon can be redeemed once.
//
//     node app.js                 redeems some coupons twice
//     node app.js --for-update    locks the coupon's row: right
//
// Knows nothing of sqloom. The database is where PGHOST, PGDATABASE and the
// like say; listens on 127.0.0.1, port $PORT or 8123.
'use strict';

const http = require('node:http');
const { text } = require('node:stream/consumers');
const { Pool } = require('pg');

const forUpdate = process.argv.includes('--for-update') ? ' FOR UPDATE' : '';
const pool = new Pool({ max: 10 });

async function redeem(client, code) {
  const { rows } = await client.query(
    `SELECT used FROM coupon WHERE code = $1${forUpdate}`, [code]);
  if (rows.length === 0) return [404, 'no such coupon'];
  if (rows[0].used) return [409, 'used already'];
  await client.query('UPDATE coupon SET used = true WHERE code = $1', [code]);
  await client.query('INSERT INTO redemption (code) VALUES ($1)', [code]);
  return [200, 'redeemed'];
}

async function inTransaction(work) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

async function answer(request) {
  if (request.method === 'GET') return [200, 'ok'];
  const form = new URLSearchParams(await text(request));
  if (request.url !== '/redeem' || !form.has('code')) {
    return [404, 'POST /redeem code=...'];
  }
  return inTransaction((client) => redeem(client, form.get('code')));
}

http.createServer(async (request, response) => {
  let [status, body] = [500, 'something went wrong'];
  try {
    [status, body] = await answer(request);
  } catch (error) {
    console.error(error);
  }
  response.writeHead(status, { 'Content-Type': 'text/plain' });
  response.end(`${body}\n`);
}).listen(Number(process.env.PORT || 8123), '127.0.0.1');
