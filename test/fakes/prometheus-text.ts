/** Prometheus's text format 0.0.4, read strictly: what its own scraper would refuse, or what would mislead, fails. */
import assert from 'node:assert/strict';

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
/** Go reads NaN in any case, and prom-client writes `Nan`. */
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? ([Nn]a[Nn]|[+-]Inf|[-+0-9.e]+)$`);
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)/y;
const HISTOGRAM_SUFFIX = /_(bucket|sum|count)$/;

export class Exposition {
  readonly types = new Map<string, string>();
  /** By `name{label="value"}`, labels in their order. */
  readonly series = new Map<string, number>();

  constructor(text: string) {
    assert.ok(text.endsWith('\n'), 'the last line ends');
    const helped = new Set<string>();
    for (const line of text.split('\n').filter((one) => one !== '')) {
      const [, kind, name = '', rest = ''] = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`).exec(line) ?? [];
      if (kind === 'HELP') helped.add(name);
      else if (kind === 'TYPE') this.#type(name, rest, helped);
      else this.#sample(line);
    }
    for (const [name, type] of this.types) if (type === 'histogram') this.#checkHistogram(name);
  }

  /** The figure of one series; undefined where there is none. */
  figure(series: string): number | undefined {
    return this.series.get(series);
  }

  #type(name: string, type: string, helped: ReadonlySet<string>): void {
    assert.ok(helped.has(name), `${name} is explained`);
    assert.ok(!this.types.has(name), `${name} is one family`);
    assert.match(type, /^(counter|gauge|histogram|summary)$/);
    if (type === 'counter') assert.match(name, /_total$/);
    this.types.set(name, type);
  }

  #sample(line: string): void {
    const [, name = '', labels = '', figure = ''] = SAMPLE.exec(line) ?? assert.fail(`not a line: ${line}`);
    const family = this.types.has(name) ? name : name.replace(HISTOGRAM_SUFFIX, '');
    assert.ok(this.types.has(family), `${name} has a type`);
    const names: string[] = [];
    LABEL.lastIndex = 0;
    for (let at = 0; at < labels.length; at = LABEL.lastIndex) names.push(LABEL.exec(labels)?.[1] ?? assert.fail(`labels: ${line}`));
    assert.equal(new Set(names).size, names.length, `a label once: ${line}`);
    const series = labels === '' ? name : `${name}{${labels}}`;
    assert.ok(!this.series.has(series), `one figure for ${series}`);
    this.series.set(series, figure === '+Inf' ? Infinity : Number(figure));
  }

  #checkHistogram(name: string): void {
    const buckets = [...this.series].filter(([series]) => series.startsWith(`${name}_bucket{`));
    const counts = [...this.series].filter(([series]) => series === `${name}_count` || series.startsWith(`${name}_count{`));
    for (const [series, count] of counts) {
      const labels = series.slice(`${name}_count`.length).replace(/^\{(.*)\}$/, '$1');
      const own = buckets.filter(([bucket]) => labels === '' || bucket.includes(labels)).map(([, figure]) => figure);
      assert.deepEqual(own, own.toSorted((a, b) => a - b), `${series}: buckets add up`);
      assert.equal(own.at(-1), count, `${series}: the last bucket has all`);
    }
  }
}
