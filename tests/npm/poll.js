// SPDX-License-Identifier: Apache-2.0
// Polls a PLC with the npm package mcprotocol and prints one JSON line.
//   node poll.js HOST PORT 1E|3E binary|ascii COUNT
// D200..D219 and M100..M107 are read COUNT times. (Writes are left out: version 0.1.2 of the
// package reads behind the end of the PLC's two-byte answer and throws.)
'use strict';
const MCProtocol = require('mcprotocol');
const [host, port, frame, code, count] = process.argv.slice(2);
const items = { WORDS: 'D200,20', BITS: 'M100,8' };
const connection = new MCProtocol();
const result = { reads: 0, bad: 0, words: null, bits: null };

// The package reports its own progress on stdout; only the last line is ours.
console.log = () => {};

function finish(error) {
  if (error) result.error = String(error);
  process.stdout.write(JSON.stringify(result) + '\n');
  connection.dropConnection();
  process.exit(error || result.bad > 0 ? 1 : 0);
}

function read() {
  connection.readAllItems((bad, values) => {
    result.reads += 1;
    if (bad) result.bad += 1;
    result.words = values.WORDS;
    result.bits = values.BITS;
    if (result.reads < Number(count)) setImmediate(read);
    else finish();
  });
}

setTimeout(() => finish('no end after 20 s'), 20000).unref();
connection.initiateConnection({ host, port: Number(port), ascii: code === 'ascii', frame }, (error) => {
  if (error !== undefined) {
    finish('no connection');
    return;
  }
  connection.setTranslationCB((name) => items[name]);
  connection.addItems(Object.keys(items));
  read();
});
