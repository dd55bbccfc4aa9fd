/** A browser: pages, fetch, server-sent events and the WebSocket API (sections 5.2 to 5.4), in Chromium. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Chromium, noChromium, type Page } from './chromium.ts';
import { PORTS, type DataPlane, type Endpoint, type SeenRequest } from './endpoint.ts';

const skip = await noChromium();

/** What a page saw of a WebSocket. */
interface SocketSeen {
  readonly opened: boolean;
  readonly protocol: string;
  readonly messages: readonly string[];
  readonly code: number;
  readonly reason: string;
}

/** Opens a WebSocket in the page, says `text` and `leave`, and tells what it saw until the end. */
const tellOfSocket = (url: string, protocols: readonly string[]) => `new Promise((resolve) => {
  const socket = new WebSocket(${JSON.stringify(url)}, ${JSON.stringify(protocols)});
  const seen = { opened: false, protocol: '', messages: [] };
  socket.onopen = () => {
    Object.assign(seen, { opened: true, protocol: socket.protocol });
    for (const text of ['text', 'leave']) socket.send(text);
  };
  socket.onmessage = ({ data }) => seen.messages.push(data);
  socket.onclose = ({ code, reason }) => resolve({ ...seen, code, reason });
})`;

/** Reads the events of \`/events\`, and lets the second go once the first is there. */
const tellOfEvents = `new Promise((resolve, reject) => {
  const source = new EventSource('/events?browser');
  const seen = [];
  source.onerror = () => reject(new Error('broken off'));
  source.onmessage = ({ data }) => {
    seen.push(data);
    if (seen.length < 2) return void fetch('/release?browser');
    source.close();
    resolve(seen);
  };
})`;

const withToken = (token: string) => ({ 'X-aws-proxy-auth': token });
const urlOf = ({ host }: Endpoint, path: string) => `https://${host}${path}`;

/** @param plane is there once the tests run */
export function browserSuite(plane: () => DataPlane): void {
  describe('Chromium', { skip, timeout: 120_000 }, () => {
    let browser: Chromium | undefined;
    let page: Page;
    before(async () => {
      browser = await Chromium.start(plane().caPath);
      page = await browser.page();
    });
    after(() => browser?.[Symbol.asyncDispose]());

    it('opens a WebSocket by subprotocols, from a page of elsewhere', async () => {
      const { host, token } = plane().one;
      const protocols = ['lambda-microvms', `lambda-microvms.authentication.${token}`, `lambda-microvms.port.${PORTS.otherHttp}`];
      const { messages, ...seen } = await page.evaluate<SocketSeen>(tellOfSocket(`wss://${host}/seen`, protocols));
      assert.deepEqual(seen, { opened: true, protocol: 'lambda-microvms', code: 4002, reason: 'left' });
      const { port, headers } = JSON.parse(messages[0]!) as SeenRequest;
      assert.deepEqual([port, headers['host'], headers['sec-websocket-protocol'], messages[1]], [PORTS.otherHttp, host, undefined, 'text']);
      const further = await page.evaluate<SocketSeen>(tellOfSocket(`wss://${host}/seen`, [...protocols.slice(0, 2), 'chat']));
      assert.equal(further.protocol, 'chat');
    });

    it('sees 1006 where marker, token or scope of a WebSocket is missing', async () => {
      const { host, token } = plane().one;
      const authentication = `lambda-microvms.authentication.${token}`;
      const narrow = await plane().tokenFor(PORTS.otherHttp);
      for (const protocols of [[], ['lambda-microvms'], [authentication], ['lambda-microvms', `lambda-microvms.authentication.${narrow}`]]) {
        const seen = await page.evaluate<SocketSeen>(tellOfSocket(`wss://${host}/seen`, protocols));
        assert.deepEqual(seen, { opened: false, protocol: '', messages: [], code: 1006, reason: '' });
      }
    });

    it('shows a page over HTTP/2, trusting the local authority, and the page fetches and hears events as they are sent', async () => {
      const { status, protocol } = await page.visit(urlOf(plane().one, '/page'), withToken(plane().one.token));
      assert.deepEqual([status, protocol, await page.evaluate('document.title')], [200, 'h2', 'page']);
      assert.equal(await page.evaluate(`fetch('/echo', { method: 'POST', body: 'body' }).then((answer) => answer.text())`), 'body');
      assert.deepEqual(await page.evaluate(tellOfEvents), ['first', 'second']);
    });

    it('shares one connection between endpoints, each of which answers for itself and takes no token of the other', async () => {
      const { one, other } = plane();
      const first = await page.visit(urlOf(one, '/seen'), withToken(one.token));
      const second = await page.visit(urlOf(other, '/seen'), withToken(other.token));
      assert.deepEqual([first, second].map(({ text }) => (JSON.parse(text) as SeenRequest).headers['host']), [one.host, other.host]);
      const crossed = await page.visit(urlOf(other, '/seen'), withToken(one.token));
      assert.deepEqual([crossed.status, crossed.text], [403, 'Token authentication failed']);
      assert.deepEqual([second.connectionId, crossed.connectionId], [first.connectionId, first.connectionId]);
    });
  });
}
