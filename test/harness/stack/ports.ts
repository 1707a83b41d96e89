import { createServer, type Server } from 'node:net';

// Below Linux's ephemeral range (32768 and up): a port from there could be taken by any outgoing connection between its
// choice and its use.
const FIRST = 15_000;
const LAST = 31_999;
const handedOut = new Set<number>();

/**
 * That many free TCP ports of 127.0.0.1. All are bound at once and released together, so they differ from each other;
 * a process never gets the same port twice.
 */
export async function freePorts(count: number): Promise<number[]> {
  const held: { port: number; server: Server }[] = [];
  try {
    let port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    for (let tries = 0; held.length < count; tries++) {
      if (tries > LAST - FIRST) throw new Error(`no ${count} free ports between ${FIRST} and ${LAST}`);
      port = port >= LAST ? FIRST : port + 1;
      if (handedOut.has(port)) continue;
      const server = await hold(port);
      if (server) held.push({ port, server });
    }
  } finally {
    await Promise.all(held.map(({ server }) => new Promise((done) => server.close(done))));
  }
  for (const { port } of held) handedOut.add(port);
  return held.map(({ port }) => port);
}

function hold(port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server));
  });
}
