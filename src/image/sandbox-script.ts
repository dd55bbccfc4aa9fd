/**
 * What runs as process 1 of a build's namespaces: it makes a small root of its own (programs of the host read-only by
 * ownership, the builder's storage, the context, and nothing else of the host), waits for the network to be ready, turns
 * into that root and runs one command. A `RUN` that breaks out of buildah's chroot finds itself here, not on the host.
 *
 * Arguments: an empty folder; then `SOURCE TARGET` pairs to bind; `--`; denied networks; `--`; allowed networks; `--`; the
 * command. Environment: LULL_NAMESERVER (empty for none), LULL_GATEWAY. It reads one line from its input before it goes on.
 */
export const SANDBOX_SCRIPT = `
set -eu
root=$1
shift
mount -t tmpfs -o mode=755,size=16m,nr_inodes=16k lull-build "$root"
cd "$root"
mkdir -p usr etc/containers proc sys dev tmp var/tmp run root old
for name in bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then
    ln -s "$(readlink "/$name")" "$name"
  elif [ -d "/$name" ]; then
    mkdir "$name"
    mount --rbind "/$name" "$name"
  fi
done
mount --rbind /usr usr
mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys 2>/dev/null || mount --rbind /sys sys
mount -t tmpfs -o mode=755,size=64k,nr_inodes=1k dev dev
for name in null zero full random urandom tty; do
  : > "dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777,size=64m,nr_inodes=16k shm dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
chmod 1777 tmp
echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd
# buildah looks up the user that it was outside.
[ "$_CONTAINERS_ROOTLESS_UID" = 0 ] || echo "builder:x:$_CONTAINERS_ROOTLESS_UID:0:builder:/root:/bin/sh" >> etc/passwd
echo 'root:x:0:' > etc/group
echo '127.0.0.1 localhost' > etc/hosts
echo 'hosts: files dns' > etc/nsswitch.conf
if [ -n "$LULL_NAMESERVER" ]; then echo "nameserver $LULL_NAMESERVER" > etc/resolv.conf; else : > etc/resolv.conf; fi
echo '{"default":[{"type":"insecureAcceptAnything"}]}' > etc/containers/policy.json
printf 'unqualified-search-registries = ["docker.io"]\\nshort-name-mode = "permissive"\\n' > etc/containers/registries.conf
printf '[storage]\\ndriver = "%s"\\ngraphroot = "/storage"\\nrootless_storage_path = "/storage"\\nrunroot = "/run/storage"\\n' "$STORAGE_DRIVER" > etc/containers/storage.conf
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then
    mkdir -p "./$2"
  else
    mkdir -p "$(dirname "./$2")"
    : > "./$2"
  fi
  mount --rbind "$1" "./$2"
  shift 2
done
shift
read -r go
[ "$go" = go ]
ip link set lo up
while [ "$1" != -- ]; do
  ip route replace unreachable "$1"
  shift
done
shift
while [ "$1" != -- ]; do
  ip route replace "$1" via "$LULL_GATEWAY"
  shift
done
shift
unset LULL_NAMESERVER LULL_GATEWAY
pivot_root . old
umount -l /old
rmdir /old
cd /
"$@" < /dev/null
exit $?
`;

/**
 * The tree of an image as EROFS on descriptor 3, which the server opened; the same bytes for the same layers. Arguments: image, UUID.
 * The moment in SOURCE_DATE_EPOCH (2100) is written as that of the build, and times of files after it would be cut to it.
 */
export const ROOT_DISK_SCRIPT = `
set -eu
export SOURCE_DATE_EPOCH=4102444800
container=$(buildah from --pull-never "$1")
tree=$(buildah mount "$container")
# The storage makes the top folder 0555 where no layer says otherwise; everybody else's is 0755.
[ "$(stat -c %a "$tree")" != 555 ] || chmod 755 "$tree"
# It is made anew for each look at the image.
touch --date=@0 "$tree"
status=0
mkfs.erofs --quiet --preserve-mtime -U "$2" /proc/self/fd/3 "$tree" || status=$?
buildah rm "$container" > /dev/null
exit $status
`;

/**
 * A root tarball as a local image. It is unpacked rather than added, so that the mode of \`/\` itself is kept.
 * Arguments: tarball, image, then options of \`buildah config\`.
 */
export const IMPORT_BASE_SCRIPT = `
set -eu
tarball=$1
image=$2
shift 2
container=$(buildah from scratch)
tree=$(buildah mount "$container")
tar --extract --file "$tarball" --directory "$tree" --preserve-permissions --numeric-owner --xattrs --xattrs-include='*' --exclude='./dev/*'
[ $# = 0 ] || buildah config "$@" "$container"
buildah commit --quiet --rm "$container" "$image"
`;

/**
 * After a build: working containers of it, temporary files, and the oldest versions' images go; layers of the newest stay as
 * the cache. Argument: how many to keep.
 */
export const HOUSEKEEPING_SCRIPT = `
buildah rm --all > /dev/null
find /var/tmp -mindepth 1 -delete
buildah images --quiet --no-trunc --filter reference='localhost/lull-build/version' | awk -v keep="$1" '!seen[$0]++ && ++n > keep' | while read -r image; do
  buildah rmi --force "$image" > /dev/null
done
`;
