/** Who reads the metrics. A scraper signs nothing, so they are not behind Signature V4. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

export const METRICS_REFUSAL = 'Metrics are for programs of this machine, or for who shows the token of --metrics-token-file.';

/** RFC 6750, 2.1. */
const BEARER = /^Bearer +([A-Za-z0-9._~+/-]+=*)$/i;
/** What a proxy on this machine says of those that it speaks for. */
const FORWARDING_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-real-ip'];

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

/**
 * With a token, whoever shows it; without, programs of this machine: a page in its browser is none, whose name for us was
 * made to lead here (DNS rebinding), nor is somebody behind a proxy.
 */
export function mayReadMetrics(request: IncomingMessage, token: string | undefined): boolean {
  if (token !== undefined) {
    const shown = BEARER.exec(request.headers.authorization ?? '')?.[1];
    return shown !== undefined && timingSafeEqual(digestOf(shown), digestOf(token));
  }
  const isForwarded = FORWARDING_HEADERS.some((name) => request.headers[name] !== undefined);
  return isLoopback(request.socket.remoteAddress ?? '') && !isForwarded && isOwnName(request.headers.host ?? '');
}

const digestOf = (text: string) => createHash('sha256').update(text).digest();

/** True for loopback's addresses, also where IPv6 wraps them. */
const isLoopback = (address: string) => isIP(address) !== 0 && LOOPBACK.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

function isOwnName(host: string): boolean {
  const name = host.replace(/:\d*$/, '').replace(/^\[(.*)\]$/, '$1');
  return name === 'localhost' || isLoopback(name);
}
