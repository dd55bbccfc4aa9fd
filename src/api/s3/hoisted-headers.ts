/**
 * Headers in the query: whoever signs a URL says there what its user need not send. AWS's SDK for JavaScript puts every `x-amz-…`
 * header there. Each parameter is signed, as such a header would have to be.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { algorithmOfHeader } from './checksums.ts';
import { S3Error } from './s3-error.ts';

const NAME = /^x-amz-[a-z0-9!#$%&'*+.^_`|~-]+$/;
/** What a header can hold: RFC 9110, section 5.5. */
const VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;

/** A parameter that says what a header of its name would. */
export const isHoisted = (parameter: string) => /^x-amz-/i.test(parameter);

/**
 * The headers that a query holds. Checksums of a body are none of them: the SDK signs that of an empty body where it knows no
 * other, and S3 passes it over.
 * @throws S3Error InvalidArgument for what no header could hold
 */
export function hoistedHeaders(query: ReadonlyMap<string, string>): IncomingHttpHeaders {
  const headers: IncomingHttpHeaders = {};
  for (const [parameter, value] of query) {
    if (!isHoisted(parameter)) continue;
    const name = parameter.toLowerCase();
    if (!NAME.test(name) || !VALUE.test(value)) throw new S3Error('InvalidArgument', { detail: { ArgumentName: parameter } });
    if (algorithmOfHeader(name) === undefined) headers[name] = value;
  }
  return headers;
}
