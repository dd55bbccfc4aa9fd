import assert from 'node:assert/strict';
import { test } from 'node:test';
import { XmlRefusal, readXml } from '../../../src/api/s3/xml-reader.ts';

const NAMES = new Set(['a', 'b', 'c', 'Delete', 'Object', 'Key', 'VersionId', 'Quiet', '__proto__', 'constructor']);
const read = (document: string) => readXml(document, NAMES);

test('elements and text become data, in order', () => {
  const document = '<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n <Object><Key>a</Key></Object>\n <Object ><Key> b\n</Key><VersionId/></Object><Quiet>true</Quiet>\n</Delete>\n';
  assert.deepEqual(read(document), {
    root: 'Delete',
    value: { Object: [{ Key: ['a'] }, { Key: [' b\n'], VersionId: [''] }], Quiet: ['true'] },
  });
  assert.deepEqual(read('\ufeff<a/>'), { root: 'a', value: '' });
  assert.deepEqual(read("<a b='c>'>d</a>"), { root: 'a', value: 'd' });
});

test('the five entities and numeric references are text', () => {
  assert.deepEqual(read('<a>&lt;&amp;amp;&gt;&quot;&apos;&#65;&#x1F986;&#13;</a>').value, `<&amp;>"'A🦆\r`);
});

test('names of a prototype are names', () => {
  const { value } = read('<a><__proto__>x</__proto__><constructor>y</constructor></a>');
  assert.deepEqual(Object.keys(value), ['__proto__', 'constructor']);
  assert.equal(({} as Record<string, unknown>)['x'], undefined);
});

const refused: Record<string, string> = {
  nothing: '',
  'text alone': 'x',
  'a document type': '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
  'an entity of its own': '<a>&b;</a>',
  'an external entity': '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
  'a bare ampersand': '<a>b & c</a>',
  'an instruction': '<a><?php?></a>',
  'a comment': '<a><!-- b --></a>',
  'a section of characters': '<a><![CDATA[b]]></a>',
  'a tag that is not closed': '<a><b></a>',
  'tags that cross': '<a><b></a></b>',
  'a tag that is not opened': '</a>',
  'two roots': '<a/><a/>',
  'two different roots': '<a/><b/>',
  'text around the root': '<a/>b',
  'text between elements': '<a>b<c/></a>',
  'the end in a tag': '<a><b',
  'a character that is none': '<a>&#xD800;</a>',
  'the NUL character': '<a>&#0;</a>',
  'depth without end': '<a>'.repeat(100_000),
  'a closing tag with attributes': '<a></a b="c">',
  'an element of no known name': '<a><d/></a>',
  'a root of no known name': '<d/>',
  'more of one name than there are parts': `<a>${'<b/>'.repeat(10_001)}</a>`,
  'a namespace prefix': '<x:a xmlns:x="y"/>',
};
for (const [title, document] of Object.entries(refused)) {
  test(`refused: ${title}`, () => assert.throws(() => read(document), XmlRefusal));
}

test('a document of two megabytes of anything is read or refused at once', () => {
  const size = 2 * 1024 * 1024;
  const fill = (piece: string) => piece.repeat(Math.floor(size / piece.length));
  for (const inner of ['<b>c</b>', '&amp;', ' ', '&', '<', '<b ', '<b c="', 'a b ', '\n\t']) {
    const startMs = performance.now();
    try {
      read(`<a>${fill(inner)}</a>`);
    } catch (error) {
      assert.ok(error instanceof XmlRefusal, String(error));
    }
    try {
      read(`<a ${fill(inner)}/>`);
    } catch (error) {
      assert.ok(error instanceof XmlRefusal, String(error));
    }
    assert.ok(performance.now() - startMs < 5000, `${JSON.stringify(inner)} took too long`);
  }
});
