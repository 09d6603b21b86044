"use strict";
// Gives the program that Node runs a clock that begins in the past and runs fast: `node --require fast_clock.cjs`.
//
// Azurite stamps what it stores by this clock. Its times have whole seconds; at a thousand seconds a second two
// writes one after another have different ones, and a test can ask for any moment between without waiting for it.

const http = require("node:http");

const RealDate = Date;
const SPEED = Number(process.env.FAST_CLOCK_SPEED);
const begins = RealDate.now() - Number(process.env.FAST_CLOCK_DAYS_AGO) * 86_400_000;
const started = process.hrtime.bigint();

function now() {
  return Math.floor(begins + (Number(process.hrtime.bigint() - started) / 1e6) * SPEED);
}

globalThis.Date = new Proxy(RealDate, {
  construct: (target, given, called) => Reflect.construct(target, given.length ? given : [now()], called),
  apply: () => new RealDate(now()).toString(),
  get: (target, name) => (name === "now" ? now : Reflect.get(target, name)),
});

// An answer that Azurite gives no Date gets Node's, which Node makes of a clock that cannot be replaced.
const writeHead = http.ServerResponse.prototype.writeHead;
http.ServerResponse.prototype.writeHead = function (...given) {
  if (!this.hasHeader("Date")) {
    this.setHeader("Date", new RealDate(now()).toUTCString());
  }
  return writeHead.apply(this, given);
};
