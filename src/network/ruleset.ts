/**
 * What microVMs may reach, as one nftables table of a server. Each microVM's tap is a device of the host, so the host's own routing and
 * connection tracking do the work; nothing here depends on how many there are. Source: nft(8).
 */
import { DENIED_NETWORKS } from '../domain/networks.ts';

/** From the block for benchmarks (RFC 2544): nobody's real network is shadowed. A guest has one address of it. */
export const GUEST_NETWORK = '198.19.0.0/16';
/** The guests' gateway, where they ask for names too; no device has it (guest/src/guest/rootfs.rs writes it into their resolv.conf). */
export const GATEWAY = '169.254.53.53';

export interface Rules {
  /** How the names of the server's taps begin. */
  readonly devicePrefix: string;
  /** CIDRs that are reached although {@link DENIED_NETWORKS} holds them. */
  readonly allowedNetworks: readonly string[];
  /** IPv4 address of the host's resolver; absent where microVMs cannot reach it. */
  readonly resolver?: string;
}

/** The chains of the table. */
export function rulesetText(rules: Rules): string {
  const ours = `"${rules.devicePrefix}*"`;
  const chains = [
    // Only the guest's own address is believed: it alone is routed back to its tap.
    chain('origin', 'type filter hook prerouting priority raw; policy accept;', [
      `iifname ${ours} meta nfproto ipv6 drop`,
      `iifname ${ours} fib saddr . iif oif missing drop`,
    ]),
    chain('names', 'type nat hook prerouting priority dstnat; policy accept;', namesOf(rules, ours)),
    chain('to_host', 'type filter hook input priority filter - 10; policy accept;', [
      `iifname ${ours} ct status dnat meta l4proto { tcp, udp } th dport 53 accept`,
      `iifname ${ours} reject with icmpx type admin-prohibited`,
    ]),
    chain('through_host', 'type filter hook forward priority filter - 10; policy accept;', [
      `iifname ${ours} jump outwards`,
      `oifname ${ours} ct state established,related accept`,
      `oifname ${ours} drop`,
    ]),
    chain('outwards', '', [
      'oifname "lull*" reject with icmpx type admin-prohibited',
      'ct state established,related accept',
      'ct status dnat meta l4proto { tcp, udp } th dport 53 accept',
      ...(rules.allowedNetworks.length > 0 ? [`ip daddr { ${rules.allowedNetworks.join(', ')} } meta l4proto tcp accept`] : []),
      `ip daddr { ${[...DENIED_NETWORKS, '198.18.0.0/15'].join(', ')} } reject with icmpx type admin-prohibited`,
      'fib daddr type != unicast drop',
      // As on AWS: TCP, and UDP for names alone (section 5.8).
      'meta l4proto tcp accept',
      'reject with icmpx type admin-prohibited',
    ]),
    chain('source', 'type nat hook postrouting priority srcnat; policy accept;', [`ip saddr ${GUEST_NETWORK} oifname != "lull*" masquerade`]),
  ];
  return chains.join('');
}

function namesOf({ resolver }: Rules, ours: string): readonly string[] {
  if (resolver === undefined) return [];
  return [`iifname ${ours} ip daddr ${GATEWAY} meta l4proto { tcp, udp } th dport 53 dnat ip to ${resolver}`];
}

const chain = (name: string, head: string, lines: readonly string[]) => `  chain ${name} {\n${[head, ...lines].filter(Boolean).map((line) => `    ${line}\n`).join('')}  }\n`;
