/** Networks that code of strangers does not reach unless the configuration lets it. */

/** "This" network, private use, shared (CGNAT), loopback, link-local with its metadata services, multicast and reserved: RFC 6890. */
export const DENIED_NETWORKS = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '224.0.0.0/4',
  '240.0.0.0/4',
] as const;
