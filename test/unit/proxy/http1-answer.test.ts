/** An application's answer by its bytes, whole and in pieces of every size that can split something. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { AnswerReader, type Expected, type Http1Head } from '../../../src/proxy/http1-answer.ts';
import { fieldLines, requestLine, SyntaxFault } from '../../../src/proxy/http1-syntax.ts';

/** What was told of an answer, in one line each; neighbouring pieces of the body are one. */
function read(text: string, { sizes, ends = false, ...more }: Partial<Expected> & { sizes: number; ends?: boolean }): string[] {
  const told: string[] = [];
  const say = (what: string, { status, message, fields, isEmpty }: Http1Head) => void told.push([what, status, message, ...fields, ...(isEmpty ? ['empty'] : [])].join('|'));
  const reader = new AnswerReader({ method: 'GET', isUpgrade: false, headerBytes: 1000, ...more }, {
    interim: (head) => say('interim', head),
    answer: (head) => say('answer', head),
    data: (piece) => {
      if (told.at(-1)?.startsWith('data|') === true) told[told.length - 1] += piece.toString('latin1');
      else told.push(`data|${piece.toString('latin1')}`);
    },
    complete: (isLast) => void told.push([isLast ? 'last' : 'complete', ...reader.trailers].join('|')),
    switched: (head, early) => say(`switched|${sizes >= text.length ? early.toString('latin1') : ''}`, head),
  });
  const bytes = Buffer.from(text, 'latin1');
  try {
    for (let at = 0; at < bytes.length; at += sizes) reader.take(bytes.subarray(at, at + sizes));
    if (ends) told.push(`end|${reader.end()}`);
  } catch (error) {
    assert.ok(error instanceof SyntaxFault, String(error));
    told.push(`fault|${error.message}`);
  }
  return told;
}

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;
const answer = (...fields: string[]) => ['answer', 200, 'OK', ...fields].join('|');
const chunked = answer('Transfer-Encoding', 'chunked');

interface Case {
  readonly bytes: string;
  readonly told: readonly string[];
  readonly expected?: Partial<Expected> & { readonly ends?: boolean };
}

/** Sections are those of RFC 9112, where no other one is named. */
const GOOD: Record<string, Case> = {
  'a stated length (6.3, 6)': { bytes: `${OK}Content-Length: 4\r\n\r\nbody`, told: [answer('Content-Length', '4'), 'data|body', 'complete'] },
  'a length of 0': { bytes: `${OK}Content-Length: 0\r\n\r\n`, told: [answer('Content-Length', '0', 'empty'), 'complete'] },
  'a body until the end (6.3, 8)': { bytes: `${OK}\r\nbody`, told: [answer(), 'data|body', 'last', 'end|true'], expected: { ends: true } },
  'chunks (7.1)': { bytes: `${CHUNKED}4\r\nbody\r\na\r\n0123456789\r\n0\r\n\r\n`, told: [chunked, 'data|body0123456789', 'complete'] },
  'sizes with zeros and capitals': { bytes: `${CHUNKED}000A\r\n0123456789\r\n00\r\n\r\n`, told: [chunked, 'data|0123456789', 'complete'] },
  'extensions of chunks (7.1.1)': { bytes: `${CHUNKED}1;a=b;c\r\nx\r\n0;d\r\n\r\n`, told: [chunked, 'data|x', 'complete'] },
  'line ends within data': { bytes: `${CHUNKED}4\r\n\r\n\r\n\r\n0\r\n\r\n`, told: [chunked, 'data|\r\n\r\n', 'complete'] },
  'trailers (7.1.2)': { bytes: `${CHUNKED}0\r\nA: b\r\nC:d\r\n\r\n`, told: [chunked, 'complete|A|b|C|d'] },
  'an answer to HEAD (6.3, 1)': { bytes: `${OK}Content-Length: 4\r\n\r\n`, told: [answer('Content-Length', '4', 'empty'), 'complete'], expected: { method: 'HEAD' } },
  '204 (6.3, 1)': { bytes: 'HTTP/1.1 204 No Content\r\n\r\n', told: ['answer|204|No Content|empty', 'complete'] },
  '304 with a length (6.3, 1)': { bytes: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n', told: ['answer|304|Not Modified|Content-Length|4|empty', 'complete'] },
  'interim answers (RFC 9110, 15.2)': {
    bytes: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n${OK}Content-Length: 0\r\n\r\n`,
    told: ['interim|100|Continue|empty', 'interim|103|Early Hints|Link|x|empty', answer('Content-Length', '0', 'empty'), 'complete'],
  },
  'HTTP/1.0, which keeps no connection (9.3)': { bytes: 'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx', told: [answer('Content-Length', '1'), 'data|x', 'last'] },
  'Connection: close (9.6)': { bytes: `${OK}Connection: x, Close\r\nContent-Length: 1\r\n\r\nx`, told: [answer('Connection', 'x, Close', 'Content-Length', '1'), 'data|x', 'last'] },
  'no reason, with its space and without (4)': { bytes: 'HTTP/1.1 100 \r\n\r\nHTTP/1.1 204\r\n\r\n', told: ['interim|100||empty', 'answer|204||empty', 'complete'] },
  'whitespace around a value, and none (5.1)': {
    bytes: `${OK}A: \t b c \t\r\nD:e\r\nF:\r\nG: \xe9\xa0\r\nContent-Length: 0\r\n\r\n`,
    told: [answer('A', 'b c', 'D', 'e', 'F', '', 'G', '\xe9\xa0', 'Content-Length', '0', 'empty'), 'complete'],
  },
  '101 that was asked for (RFC 9110, 7.8)': {
    bytes: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
    told: ['switched||101|Switching Protocols|Upgrade|x|Connection|Upgrade|empty'],
    expected: { isUpgrade: true },
  },
  'an answer to an Upgrade that is none': { bytes: `${OK}Upgrade: x\r\nContent-Length: 1\r\n\r\nx`, told: [answer('Upgrade', 'x', 'Content-Length', '1'), 'data|x', 'complete'], expected: { isUpgrade: true } },
  'an end within a body of stated length': { bytes: `${OK}Content-Length: 4\r\n\r\nbo`, told: [answer('Content-Length', '4'), 'data|bo', 'end|false'], expected: { ends: true } },
  'an end within chunks': { bytes: `${CHUNKED}4\r\nbo`, told: [chunked, 'data|bo', 'end|false'], expected: { ends: true } },
  'an end within the head': { bytes: OK, told: ['end|false'], expected: { ends: true } },
};

const head = (...lines: string[]) => [OK.trim(), ...lines, '', ''].join('\r\n');
/** What is told before the fault is nothing, or the head where only the body is bad. */
const BAD: Record<string, { readonly bytes: string; readonly fault: string; readonly expected?: Partial<Expected> }> = {
  'bare LF (2.2)': { bytes: 'HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n', fault: 'no status line' },
  'bare LF within a field': { bytes: head('A: b\nC: d'), fault: 'a field with a forbidden character' },
  'bare CR within a field (2.2)': { bytes: head('A: b\rC: d'), fault: 'a field with a forbidden character' },
  'NUL': { bytes: head('A: \x00'), fault: 'a field with a forbidden character' },
  'an empty line before the status line': { bytes: `\r\n${head()}`, fault: 'no status line' },
  'another protocol (4)': { bytes: 'ICY 200 OK\r\n\r\n', fault: 'no status line' },
  'another version (2.3)': { bytes: 'HTTP/2.0 200 OK\r\n\r\n', fault: 'no status line' },
  'a status of two digits': { bytes: 'HTTP/1.1 20 OK\r\n\r\n', fault: 'no status line' },
  'a status of four digits': { bytes: 'HTTP/1.1 2000 OK\r\n\r\n', fault: 'no status line' },
  'status 0': { bytes: 'HTTP/1.1 000 OK\r\n\r\n', fault: 'no status line' },
  'two spaces before the status': { bytes: 'HTTP/1.1  200 OK\r\n\r\n', fault: 'no status line' },
  'a line without a colon (5)': { bytes: head('abc'), fault: 'a line that is no field' },
  'an empty name': { bytes: head(': b'), fault: 'a line that is no field' },
  'a space before the colon (5.1)': { bytes: head('A : b'), fault: 'a line that is no field' },
  'obs-fold (5.2)': { bytes: head('A: b', ' c'), fault: 'a line that is no field' },
  'whitespace before the first field (2.2)': { bytes: head(' A: b'), fault: 'a line that is no field' },
  'a head that is too long': { bytes: head(`A: ${'x'.repeat(1000)}`), fault: 'too long' },
  'a head without end': { bytes: `${OK}A: ${'x'.repeat(5000)}`, fault: 'too long' },
  'a coding and a length (6.1)': { bytes: head('Transfer-Encoding: chunked', 'Content-Length: 0'), fault: 'both a transfer coding and a length' },
  'the same to HEAD': { bytes: head('Content-Length: 0', 'Transfer-Encoding: chunked'), fault: 'both a transfer coding and a length', expected: { method: 'HEAD' } },
  'an unknown coding (6.1)': { bytes: head('Transfer-Encoding: gzip, chunked'), fault: 'unknown transfer coding' },
  'chunked twice': { bytes: head('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'), fault: 'unknown transfer coding' },
  'an empty coding': { bytes: head('Transfer-Encoding: '), fault: 'unknown transfer coding' },
  'a vertical tab before a coding': { bytes: head('Transfer-Encoding: \x0bchunked'), fault: 'a field with a forbidden character' },
  'a no-break space before a coding': { bytes: head('Transfer-Encoding: \xa0chunked'), fault: 'unknown transfer coding' },
  'two lengths (6.3, 5)': { bytes: head('Content-Length: 1', 'Content-Length: 1'), fault: 'no length' },
  'a list of lengths': { bytes: head('Content-Length: 1, 1'), fault: 'no length' },
  'a signed length (6.2)': { bytes: head('Content-Length: +1'), fault: 'no length' },
  'a length in hexadecimal': { bytes: head('Content-Length: 0x1'), fault: 'no length' },
  'an empty length': { bytes: head('Content-Length: '), fault: 'no length' },
  'a length that no number holds': { bytes: head(`Content-Length: ${'9'.repeat(16)}`), fault: 'no length' },
  '101 that was not asked for (RFC 9110, 7.8)': { bytes: 'HTTP/1.1 101 Ok\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n', fault: '101 without Upgrade' },
  '101 that says nothing': { bytes: 'HTTP/1.1 101 Ok\r\n\r\n', fault: '101 without Upgrade', expected: { isUpgrade: true } },
};

const BAD_CHUNKS: Record<string, { readonly body: string; readonly fault: string }> = {
  'an empty size': { body: '\r\n', fault: 'a chunk without a size' },
  'a size with a prefix': { body: '0x4\r\nbody\r\n', fault: 'a chunk without a size' },
  'a signed size': { body: '+4\r\nbody\r\n', fault: 'a chunk without a size' },
  'a negative size': { body: '-1\r\nbody\r\n', fault: 'a chunk without a size' },
  'a space after the size': { body: '4 \r\nbody\r\n', fault: 'a chunk without a size' },
  'a size beyond 52 bits': { body: '10000000000000\r\nbody\r\n', fault: 'a chunk without a size' },
  'bare LF after the size': { body: '4\nbody\r\n', fault: 'a chunk without a size' },
  'bare CR in an extension': { body: '4;a\rb\r\nbody\r\n', fault: 'a chunk without a size' },
  'data longer than its size': { body: '3\r\nbody\r\n', fault: 'too long' },
  'bare LF after the data': { body: '4\r\nbody\n0\r\n\r\n', fault: 'too long' },
  'an endless extension (7.1.1)': { body: `4;${'x'.repeat(1100)}\r\nbody\r\n`, fault: 'too long' },
  'trailers that are too long (7.1.2)': { body: `0\r\nA: ${'x'.repeat(1100)}\r\n\r\n`, fault: 'too long' },
  'a folded trailer (5.2)': { body: '0\r\nA: b\r\n c\r\n\r\n', fault: 'a line that is no field' },
};

suite('an answer of HTTP/1.1', () => {
  for (const [name, { bytes, told, expected }] of Object.entries(GOOD)) {
    test(`${name}: read, whole and in pieces`, () => {
      for (const sizes of [bytes.length, 1, 2, 3, 5, 7]) assert.deepEqual(read(bytes, { ...expected, sizes }), told, `pieces of ${sizes}`);
    });
  }

  for (const [name, { bytes, fault, expected }] of Object.entries(BAD)) {
    test(`${name}: refused, whole and in pieces`, () => {
      for (const sizes of [bytes.length, 1, 2, 3, 5, 7]) assert.deepEqual(read(bytes, { ...expected, sizes }), [`fault|${fault}`], `pieces of ${sizes}`);
    });
  }

  for (const [name, { body, fault }] of Object.entries(BAD_CHUNKS)) {
    test(`${name} in chunks: refused, and not complete before (7.1)`, () => {
      const bytes = `${CHUNKED}${body}`;
      for (const sizes of [bytes.length, 1, 2, 3, 5, 7]) {
        const told = read(bytes, { sizes });
        assert.equal(told.at(-1), `fault|${fault}`, `pieces of ${sizes}`);
        assert.ok(!told.some((line) => /^(?:complete|last)/.test(line)));
      }
    });
  }

  for (const [name, first] of Object.entries({ 'a length': `${OK}Content-Length: 2\r\n\r\nok`, 'chunks': `${CHUNKED}2\r\nok\r\n0\r\n\r\n`, 'no body': 'HTTP/1.1 204 None\r\n\r\n' })) {
    test(`bytes behind an answer with ${name}: not read, and no other follows on the connection (9.3)`, () => {
      const bytes = `${first}${OK}Content-Length: 6\r\n\r\nforged`;
      const told = read(bytes, { sizes: bytes.length });
      assert.equal(told.at(-1), 'last');
      assert.ok(!told.join().includes('forged'));
    });
  }

  test('what comes with a change of the protocol is the new one’s', () => {
    const bytes = 'HTTP/1.1 101 Ok\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nearly\r\n\r\n';
    assert.match(read(bytes, { sizes: bytes.length, isUpgrade: true })[0]!, /^switched\|early\r\n\r\n\|101/);
  });
});

suite('a request of HTTP/1.1 cannot be written', () => {
  // RFC 9112, 11.1: nothing may become a second line.
  for (const [method, target] of [['GET', '/a b'], ['GET', '/a\r\nX: y'], ['GET', ''], ['G T', '/'], ['', '/'], ['GET', '/\u0100']] as const) {
    test(`with the line ${JSON.stringify([method, target])}`, () => assert.throws(() => requestLine(method, target), SyntaxFault));
  }
  for (const field of [['A', 'b\r\nC: d'], ['A\r\nB', 'c'], ['A', 'b\0'], ['A ', 'b'], ['', 'b'], ['A', '\u0100'], ['A', 'b\n']] as const) {
    test(`with the field ${JSON.stringify(field)}`, () => assert.throws(() => fieldLines(field), SyntaxFault));
  }
});
