/** QEMU's command line. The recipes were tried by hand; why each option is there stands beside it. */
import type { BootSpec, MachineSpec, NetworkAttachment } from '../driver.ts';
import { ROOT_DISK_SET, SCRATCH_DISK_SET, diskArguments } from './disk-files.ts';

/** QEMU's own path of the agent's device, which is the first of the command line. */
export const SERIAL_DEVICE = '/machine/peripheral-anon/device[0]';
/** Of the first port, of the control messages, of the agent's port (VIRTIO 1.2, section 5.3.2). */
export const SERIAL_RECEIVE_QUEUES = [0, 2, 4];
/** Name of the virtio-serial port that the agent looks for (docs/agent-protocol.md). */
const AGENT_PORT = 'lull.agent';

/** Offloads negotiated with one backend break under another, so the card has none and the snapshot fits them all. */
const NIC_WITHOUT_OFFLOADS = [
  'csum',
  'guest_csum',
  'gso',
  'guest_tso4',
  'guest_tso6',
  'guest_ecn',
  'guest_ufo',
  'host_tso4',
  'host_tso6',
  'host_ecn',
  'host_ufo',
].map((offload) => `${offload}=off`);

/** Five levels of page tables would only make every walk longer. */
const EMULATED_CPU = 'max,la57=off';

/** The same in every microVM: each has a network of its own. */
const GUEST_MAC = '52:54:00:4c:55:4c';

/** What does not change the guest's view of the machine, or changes it in the same way for boot and restore. */
export interface QemuTarget {
  readonly accelerator: 'kvm' | 'tcg';
  /** Host TSC frequency; used under TCG. */
  readonly tscKhz: number;
  /** See `Driver.opensMemoryReadOnly`. */
  readonly opensMemoryReadOnly: boolean;
  /** The user and group that QEMU becomes when its files are open; absent where it stays who it is. */
  readonly becomes?: { readonly uid: number; readonly option: 'runas' | 'run-with' };
}

/** Socket on which the agent's channel is dialled. */
export const agentSocketPath = (runDir: string) => `${runDir}/agent.sock`;

/** How the argument for the agent's socket begins: by it the processes of a runtime folder are found. */
export const agentChardev = (path: string) => `socket,id=agent,path=${escaped(path)}`;

/** Socket of the second control connection, for a server that comes later. */
export const controlSocketPath = (runDir: string) => `${runDir}/qmp.sock`;

/** File descriptor of the control connection that the starting server holds. */
export const CONTROL_FD = 3;

/** Arguments that boot an image's guest: memory shared with its file, kernel and initramfs. */
export function bootArguments(spec: BootSpec, target: QemuTarget): string[] {
  return [
    ...machineArguments(spec, target, 'on'),
    '-chardev',
    `file,id=console,path=${escaped(spec.consolePath)}`,
    '-kernel',
    spec.kernelPath,
    '-initrd',
    spec.initramfsPath,
    '-append',
    kernelCommandLine(target),
  ];
}

/** File descriptor of the device state that a prepared process loads. */
export const STATE_FD = 4;

/** File descriptor of the tap that the host tool made (guest/src/tap.rs). */
const TAP_FD = 8;

/** Arguments of a paused process that waits for device state, memory mapped copy-on-write. */
export function restoreArguments(spec: MachineSpec, target: QemuTarget): string[] {
  return [
    ...machineArguments(spec, target, 'off'),
    // The console is part of the machine; what a restored guest writes to it is nobody's.
    '-chardev',
    'null,id=console',
    '-S',
    '-incoming',
    'defer',
    // Device state comes from xen-save-devices-state, which writes no configuration section.
    '-global',
    'migration.send-configuration=off',
  ];
}

function kernelCommandLine(target: QemuTarget): string {
  const words = ['console=ttyS0', 'quiet', 'panic=-1', 'reboot=t', 'random.trust_cpu=off'];
  // A suspend leaves free pages out, so a wake finds other bytes in them: a kernel that counts on what it wrote when it
  // freed them (zeros, poison) would hand those out for zeroed memory, or report damage.
  words.push('init_on_free=0', 'page_poison=0');
  // Without it three boots in ten hang: the machine has no reference clock to calibrate the TSC against.
  if (target.accelerator === 'tcg') {
    words.push(`tsc_early_khz=${target.tscKhz}`);
    // Of more than one emulated CPU the kernel trusts no TSC, and would count ticks: a busy host loses those, and the clock with them.
    words.push('tsc=reliable');
  }
  return words.join(' ');
}

function machineArguments(spec: MachineSpec, target: QemuTarget, share: 'on' | 'off'): string[] {
  const accelerator = target.accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi,tb-size=64';
  const readOnly = share === 'off' && target.opensMemoryReadOnly ? ',readonly=on,rom=off' : '';
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot', ...containment(target)],
    ...['-M', 'microvm,memory-backend=mem,rtc=on,pit=on,pic=on,isa-serial=on'],
    ...['-accel', accelerator, '-cpu', target.accelerator === 'kvm' ? 'host' : EMULATED_CPU],
    ...['-m', `${spec.guestMemoryMib}M`, '-smp', `${spec.vcpus}`],
    '-object',
    // reserve=off: a mapping larger than the host's free memory is promised, and only touched pages are held.
    `memory-backend-file,id=mem,size=${spec.guestMemoryMib}M,mem-path=${escaped(spec.memoryPath)},share=${share},reserve=off,merge=off${readOnly}`,
    ...['-serial', 'chardev:console'],
    ...['-chardev', `socket,id=control,fd=${CONTROL_FD}`, '-mon', 'chardev=control,mode=control'],
    '-chardev',
    `socket,id=control2,path=${escaped(controlSocketPath(spec.runDir))},server=on,wait=off`,
    ...['-mon', 'chardev=control2,mode=control'],
    ...['-device', 'virtio-serial-device,max_ports=2'],
    '-chardev',
    `${agentChardev(agentSocketPath(spec.runDir))},server=on,wait=off`,
    ...['-device', `virtserialport,chardev=agent,name=${AGENT_PORT}`],
    ...diskArguments(),
    '-drive',
    `if=none,id=root,format=raw,readonly=on,file.locking=off,file=${ROOT_DISK_SET}`,
    ...['-device', 'virtio-blk-device,drive=root,serial=lull-root,rerror=stop'],
    '-drive',
    `if=none,id=scratch,format=raw,discard=unmap,detect-zeroes=unmap,file.locking=off,file=${SCRATCH_DISK_SET}`,
    // An error that the guest saw would be for ever: its file system turns read-only. So it waits until its disk is there again.
    ...['-device', 'virtio-blk-device,drive=scratch,serial=lull-scratch,werror=stop,rerror=stop'],
    ...networkArguments(spec.network),
  ];
}

/** All that QEMU's filter can forbid. One that has yet to become another user needs setuid(2); the jail sees to it that nothing is regained by it. */
function containment({ becomes }: QemuTarget): string[] {
  const filter = ['on', 'obsolete=deny', 'spawn=deny', 'resourcecontrol=deny', ...(becomes === undefined ? ['elevateprivileges=deny'] : [])];
  const user = becomes && `${becomes.uid}:${becomes.uid}`;
  const switched = user === undefined ? [] : becomes?.option === 'runas' ? ['-runas', user] : ['-run-with', `user=${user}`];
  return ['-sandbox', filter.join(','), ...switched];
}

function networkArguments(network: NetworkAttachment): string[] {
  const nic = ['virtio-net-device', `mac=${GUEST_MAC}`, ...NIC_WITHOUT_OFFLOADS];
  const backend = networkBackend(network);
  if (backend === undefined) return ['-device', nic.join(',')];
  return ['-netdev', backend, '-device', [...nic, 'netdev=net'].join(',')];
}

function networkBackend(network: NetworkAttachment): string | undefined {
  switch (network.kind) {
    case 'none':
      return undefined;
    case 'user-restricted':
      return 'user,id=net,restrict=on';
    case 'routed':
      return `tap,id=net,fd=${TAP_FD}`;
    case 'passt':
      return `stream,id=net,server=off,addr.type=unix,addr.path=${escaped(network.socketPath)}`;
  }
  return network satisfies never;
}

/** A comma ends a value in QEMU's option syntax; two of them stand for one. */
const escaped = (path: string) => path.replaceAll(',', ',,');
