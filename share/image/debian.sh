#!/bin/bash
# debian.sh OUTPUT_DIR: makes the Debian 13 (trixie) riscv64 image that `doppel run` starts by default:
#   kernel       Debian's own riscv64 kernel, unmodified
#   initrd       busybox and the modules that reach the disk
#   disk.raw     an ext4 file system, sparse, with the packages unpacked; the guest configures them on its first boot
#   image.json   what to start and what it is made of
# No riscv64 code runs here: packages are downloaded by the machine's own apt (which checks the archive's signature),
# unpacked, and entered in the guest's dpkg database as "unpacked", the state in which dpkg --configure takes over.
# Progress goes to stderr; a failure is one sentence there, exit status 2, and nothing half made is left behind.
# From the environment: DOPPEL_DEBIAN_MIRROR (instead of the host's sources), DOPPEL_DEBIAN_DISK_SIZE (default 8G).
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
umask 022

readonly suite=trixie architecture=riscv64 here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
readonly megabytes_needed=900
# What a user at the shell needs beyond what is essential. Each package is configured by the guest, so each costs time once.
packages=(apt sysvinit-core ifupdown udhcpc busybox-static netbase iproute2 iputils-ping kmod
                   e2fsprogs procps login passwd psmisc less nano whiptail)
readonly kernel_package=linux-image-$architecture
# The modules of the initrd; what they depend on comes with them, but crc32c, which ext4 asks for by its algorithm's name.
readonly initrd_modules=(virtio_mmio virtio_blk crc32c_generic ext4 virtio_net virtio-rng)

exec 3>&2 # what the user reads; the tools' own messages go to a log
say() { printf 'doppel: %s\n' "$*" >&3; }
fail() { failed=1; say "$*"; exit 2; }

main() {
  [[ $# == 1 && $1 != -* ]] || fail "usage: debian.sh OUTPUT_DIR"
  output=$(realpath -m -- "$1") work='' failed='' pid=$BASHPID
  check_tools
  mkdir -p -- "$(dirname "$output")" 2>/dev/null || fail "cannot make the folder $(dirname "$output"): check its permissions"
  lock
  check_space
  work=$(mktemp -d -- "$output.new-XXXXXX") || fail "cannot write in $(dirname "$output"): check its permissions"
  trap clean_up EXIT
  trap 'failed=1; exit 130' INT TERM HUP
  run_stages 2>>"$work/log"
  publish
}

run_stages() {
  say "Debian $suite for $architecture: reading the package lists"
  choose_sources
  say "downloading the packages"
  download
  say "unpacking $(find "$work/archives/" -name '*.deb' | wc -l) packages"
  unpack_kernel
  unpack_packages
  add_own_files
  say "making the initrd"
  make_initrd
  say "making the disk"
  make_disk
  write_description
}

check_tools() {
  local tool missing=()
  export PATH=$PATH:/usr/sbin:/sbin
  for tool in apt-get:apt dpkg-deb:dpkg mke2fs:e2fsprogs cpio:cpio depmod:kmod xz:xz-utils flock:util-linux gpgv:gpgv \
    riscv64-linux-gnu-strip:binutils-riscv64-linux-gnu; do
    command -v "${tool%%:*}" >/dev/null || missing+=("${tool##*:}")
  done
  [[ -r $keyring ]] || missing+=(debian-archive-keyring)
  ((EUID == 0)) || command -v fakeroot >/dev/null || missing+=(fakeroot)
  ((${#missing[@]} == 0)) || fail "making an image needs these packages, install them first: ${missing[*]}"
  # Owners of files are recorded, not set: so the image needs no root, and looks the same when root makes it.
  if ((EUID != 0)) && [[ -z ${FAKEROOTKEY:-} ]]; then
    exec fakeroot -- bash "${BASH_SOURCE[0]}" "$output"
  fi
}

# One build of an image at a time; who waited finds it made.
lock() {
  local file
  file=$(dirname "$output")/.$(basename "$output").lock
  : 2>/dev/null >>"$file" || fail "cannot write $file: check the permissions of the folder, and whether the disk is full"
  exec 9>>"$file"
  if ! flock -n 9; then
    say "waiting for another build of this image"
    flock 9
    [[ ! -f $output/image.json ]] || exit 0
  fi
  rm -rf -- "$output".new-?????? "$output".old-??????
}

megabytes_free() { df -Pm -- "$(dirname "$output")" | awk 'NR == 2 { print $4 }'; }
disk_is_full() { (($(megabytes_free) < 20)); }

check_space() {
  local free
  free=$(megabytes_free)
  ((free >= megabytes_needed)) ||
    fail "the disk is too full: $(dirname "$output") has $free MB free and an image needs $megabytes_needed MB"
}

clean_up() {
  local status=$?
  ((BASHPID == pid)) || return
  if ((status != 0)) && [[ -z $failed ]]; then
    if disk_is_full; then
      say "the disk is full: no image was made in $output"
    else
      say "no image was made in $output: $(tail -n 1 "$work/log")"
    fi
    status=2
  fi
  rm -rf -- "$work"
  exit "$status"
}

# Runs a command whose output matters only if it fails.
quiet() { "$@" >>"$work/log" 2>&1; }

# Why apt failed the last time, in its own words: what hindered a download says more than that one failed.
apt_reason() {
  { grep -oP '(^[EW]: Failed to fetch \S+ +\K.+)' "$work/log" || sed -n 's/^E: //p' "$work/log"; } | tail -n 1
}

# The sites in the host's own apt sources that are Debian's, most used first.
debian_sites() {
  if [[ -n ${DOPPEL_DEBIAN_MIRROR:-} ]]; then
    echo "$DOPPEL_DEBIAN_MIRROR"
    return
  fi
  # Without lists (apt-get update has not run) the origin is not known, and a site's name must do.
  apt-get indextargets --format '$(CREATED_BY) $(ORIGIN) $(RELEASE) $(SITE)' 2>/dev/null |
    awk '$1 == "Packages" && ($2 == "Debian" || $4 ~ /debian/) && $3 !~ /-security$/ && $4 ~ /^https?:/ { print $4 }' |
    sort | uniq -c | sort -rn | awk '{ print $2 }'
}

# Whether the host takes the suite NAME-SUFFIX (updates, security), and from where.
site_of() {
  [[ -z ${DOPPEL_DEBIAN_MIRROR:-} ]] || return 0
  apt-get indextargets --format '$(CREATED_BY) $(RELEASE) $(SITE)' 2>/dev/null |
    awk -v suffix="-$1" '$1 == "Packages" && substr($2, length($2) - length(suffix) + 1) == suffix { print $3; exit }'
}

# Points apt at the guest's suite: the host's configuration (proxies, say), but folders and sources of its own.
configure_apt() {
  mkdir -p "$work"/apt/{state/lists/partial,cache/archives/partial}
  ln -sfn apt/cache/archives "$work/archives"
  : >"$work/apt/state/status" # nothing is installed; apt locks the folder that this is in
  cat >"$work/apt/conf" <<C
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear APT::NeverAutoRemove;
APT::Architecture "$architecture"; APT::Architectures { "$architecture"; };
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none"; Acquire::Retries "2"; Acquire::http::Timeout "30"; Acquire::https::Timeout "30";
Acquire::GzipIndexes "true"; Acquire::CompressionTypes::Order { "xz"; };
Dir::State "$work/apt/state"; Dir::State::status "$work/apt/state/status"; Dir::Cache "$work/apt/cache";
Dir::Cache::archives "archives"; Dir::Cache::pkgcache "pkgcache.bin"; Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "$work/apt/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
Dir::Log::Terminal ""; Dir::Log::History "";
C
  export APT_CONFIG=$work/apt/conf
}

# Takes the first site that serves the suite with a good signature; without it, says why in one sentence. A mirror in the
# middle of its own update, which takes it half a minute, is asked again; the suite's other name, stable, may be whole.
choose_sources() {
  local site updates security sites extra='' pause name waiting
  mapfile -t sites < <(debian_sites)
  updates=$(site_of updates) security=$(site_of security)
  ((${#sites[@]} > 0)) || fail "the machine's apt sources name no Debian mirror: set DOPPEL_DEBIAN_MIRROR to one"
  configure_apt
  [[ -z $updates ]] || extra+="deb $updates $suite-updates main"$'\n'
  [[ -z $security ]] || extra+="deb $security $suite-security main"$'\n'
  for pause in 5 10 20 0; do
    waiting=
    for site in "${sites[@]}"; do
      [[ $site != https:* ]] || packages+=(ca-certificates)
      for name in "$suite" stable; do
        main_source="deb $site $name main"
        for extra_sources in ${extra:+"$extra"} ''; do
          if read_lists "$main_source"$'\n'"$extra_sources"; then return; fi
          ! grep -qE 'Mirror sync in progress|Hash Sum mismatch' "$work/log" || waiting=1
        done
      done
    done
    [[ -n $waiting ]] || break
    ((pause == 0)) || say "the mirror is being updated: asking again in $pause seconds"
    sleep "$pause"
  done
  fail "cannot read Debian $suite from ${sites[0]} ($(apt_reason)): check the network"
}

# Whether the package lists of these sources can be had, and are the suite's.
read_lists() {
  sed "/./s|^deb |deb [signed-by=$keyring] |" <<<"$1" >"$work/apt/sources.list"
  : >"$work/log"
  quiet apt-get update -q -o APT::Update::Error-Mode=any || return 1
  grep -qxF "Codename: $suite" "$work"/apt/state/lists/*_InRelease
}

# fetch WHAT COMMAND...: a mirror may be in the middle of its own update, so it is asked again before giving up.
fetch() {
  local what=$1 attempt
  shift
  for attempt in 1 2 3; do
    : >"$work/log"
    if quiet "$@"; then return; fi
    ! disk_is_full || break
    sleep "$attempt"
  done
  ! disk_is_full || fail "the disk is full: no image was made in $output"
  fail "cannot download $what ($(apt_reason)): check the network"
}

download() {
  local image
  fetch "the packages" apt-get install -q -y --download-only '?essential' "${packages[@]}"
  image=$(apt-cache depends "$kernel_package" | awk '/Depends: linux-image/ { print $2; exit }')
  [[ -n $image ]] || fail "Debian $suite has no kernel for $architecture in ${main_source#deb }"
  mkdir "$work/kernel"
  cd "$work/kernel"
  fetch "the kernel $image" apt-get download -q "$image"
  cd /
}

# The kernel stays outside the guest's dpkg: it is started from a file, and configuring it would build an initrd there.
unpack_kernel() {
  mkdir -p "$work/root"
  dpkg-deb --fsys-tarfile "$work"/kernel/*.deb | tar -xp -C "$work/root" ./boot ./usr/lib/modules
  kernel_version=$(basename "$work"/root/usr/lib/modules/*)
  mv "$work/root/boot/vmlinux-$kernel_version" "$work/kernel.image"
  rm -rf "$work/root/boot"
  find "$work/root/usr/lib/modules" -type l -delete # build and source: headers that are not there
  depmod -b "$work/root/usr" -m /lib/modules "$kernel_version" || depmod -b "$work/root/usr" "$kernel_version"
}

unpack_packages() {
  local first deb
  mkdir -p "$work"/root/var/lib/dpkg/{info,triggers,updates,alternatives,parts} "$work/status"
  # base-files owns the links /bin, /lib and /sbin, which every other package is unpacked through.
  first=$(find "$work/archives/" -name 'base-files_*.deb')
  unpack_package "$first"
  export work
  export -f unpack_package register
  find "$work/archives/" -name '*.deb' ! -name 'base-files_*' -print0 |
    xargs -0 -P "$(nproc)" -I{} bash -c 'set -euo pipefail; unpack_package {}' || return
  for deb in "$work"/status/*; do cat "$deb"; echo; done >"$work/root/var/lib/dpkg/status"
  sort -u "$work"/status.triggers 2>/dev/null | while read -r trigger package; do
    case $trigger in
      /*) echo "$trigger $package" >>"$work/root/var/lib/dpkg/triggers/File" ;;
      *) echo "$package" >>"$work/root/var/lib/dpkg/triggers/$trigger" ;;
    esac
  done
  echo 1 >"$work/root/var/lib/dpkg/info/format"
  : >"$work/root/var/lib/dpkg/available"
  : >"$work/root/var/lib/dpkg/diversions"
  : >"$work/root/var/lib/dpkg/statoverride"
  : >"$work/root/var/lib/dpkg/triggers/Lock"
}

# unpack_package DEB: its files, and its place in the dpkg database.
unpack_package() {
  local control name file
  control=$(mktemp -d -- "$work/control-XXXXXX")
  dpkg-deb --fsys-tarfile "$1" | tar -xpv --keep-directory-symlink -C "$work/root" |
    sed 's|^\./|/|; s|\(.\)/$|\1|; s|^/$|/.|' >"$control.list"
  dpkg-deb -e "$1" "$control"
  name=$(sed -n 's/^Package: //p' "$control/control")
  register "$control" "$name"
  rm -rf "$control" "$control.list"
}

# register CONTROL_DIR NAME: what dpkg would have written after unpacking (dpkg(1), deb-triggers(5)).
register() {
  local info=$2 file
  if grep -q '^Multi-Arch: same' "$1/control"; then info=$2:$(sed -n 's/^Architecture: //p' "$1/control"); fi
  {
    sed 's/^\(Package: .*\)/\1\nStatus: install ok unpacked/' "$1/control"
    if [[ -s $1/conffiles ]]; then
      echo "Conffiles:"
      # The files are in place already, so their sums are what dpkg compares a later version's with.
      sed -n 's/^\(\/[^ ]*\)$/\1/p' "$1/conffiles" | while read -r file; do
        echo " $file $(md5sum <"$work/root$file" | cut -d' ' -f1)"
      done
    fi
  } >"$work/status/$2"
  if [[ -f $1/triggers ]]; then
    awk -v package="$2" '$1 ~ /^interest/ { print $2, package ($1 == "interest-noawait" ? "/noawait" : "") }' \
      "$1/triggers" >>"$work/status.triggers"
  fi
  rm -f "$1/control"
  for file in "$1"/*; do
    [[ ! -f $file ]] || mv "$file" "$work/root/var/lib/dpkg/info/$info.$(basename "$file")"
  done
  mv "$1.list" "$work/root/var/lib/dpkg/info/$info.list"
}

add_own_files() {
  local root=$work/root list
  cp -R "$here/debian/root/." "$root/"
  chmod 755 "$root"/usr/lib/doppel/*
  mkdir -p "$root"/{proc,sys,dev,run,tmp,root,mnt} "$root"/var/lib/{doppel,apt/lists/partial} "$root"/{var/cache/apt/archives/partial,etc/inittab.d}
  chmod 1777 "$root/tmp"
  chmod 700 "$root/root"
  echo doppel >"$root/etc/hostname"
  printf '127.0.0.1\tlocalhost doppel\n::1\tlocalhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
  printf '%s\n%s' "$main_source" "$extra_sources" | sed '/^$/d' >"$root/etc/apt/sources.list"
  # The lists go along, so that the guest can install before its first apt-get update, which is long on an interpreter.
  cp "$work"/apt/state/lists/*_{InRelease,Packages*} "$root/var/lib/apt/lists/"
  # Users exist before base-passwd is configured: the first shell starts at once.
  cp -n "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
  cp -n "$root/usr/share/base-passwd/group.master" "$root/etc/group"
  # Where init writes before base-files is configured, which then finds the links in place.
  rmdir "$root/var/run" "$root/var/lock"
  ln -s /run "$root/var/run"
  ln -s /run/lock "$root/var/lock"
  : >"$root/var/lib/doppel/unconfigured"
}

# module_paths: the initrd's modules and what they need, in an order in which they load.
module_paths() {
  local modules=$work/root/usr/lib/modules/$kernel_version
  awk -v wanted="${initrd_modules[*]}" '
    function base(path) { sub(/.*\//, "", path); sub(/\.ko.*/, "", path); return path }
    function load(path,   n, i, needs) {
      if (path in done) return
      done[path] = 1
      n = split(needed[path], needs, " ")
      for (i = n; i >= 1; --i) load(needs[i])
      print path
    }
    { path = $1; sub(/:$/, "", path); by_name[base(path)] = path; $1 = ""; needed[path] = $0 }
    END { n = split(wanted, names, " "); for (i = 1; i <= n; ++i) if (names[i] in by_name) load(by_name[names[i]]) }
  ' "$modules/modules.dep"
}

make_initrd() {
  local tree=$work/initrd.tree path name
  mkdir -p "$tree"/{bin,dev,proc,sys,lib,root}
  cp "$work/root/usr/bin/busybox" "$tree/bin/"
  for name in sh mount setsid insmod switch_root sleep cat poweroff; do ln -s busybox "$tree/bin/$name"; done
  module_paths | while read -r path; do
    name=$(basename "${path%%.ko*}").ko
    xz -dc "$work/root/usr/lib/modules/$kernel_version/$path" >"$tree/lib/$name"
    # A RISC-V module has ten thousands of labels of the compiler's, which the kernel would go through as it loads it:
    # two thousand million instructions for these few (ext4 has 215,000).
    riscv64-linux-gnu-strip --discard-locals "$tree/lib/$name"
    echo "$name" >>"$tree/lib/order"
  done
  install -m 755 "$here/debian/initrd/init" "$tree/init"
  # Not compressed: a few megabytes cost the host nothing, and the guest would spend longer on unpacking them.
  (cd "$tree" && find . | sort | cpio --quiet -o -H newc -R 0:0) >"$work/initrd"
}

make_disk() {
  truncate -s "${DOPPEL_DEBIAN_DISK_SIZE:-8G}" "$work/disk.raw"
  # The file is new, hence zero: told so, neither we nor the guest's kernel write the inode tables.
  quiet mke2fs -q -t ext4 -L doppel -m 1 -E assume_storage_prezeroed=1,root_owner=0:0 -d "$work/root" "$work/disk.raw"
}

write_description() {
  cat >"$work/image.json" <<J
{
  "name": "debian",
  "description": "Debian 13 (trixie) riscv64, Linux $kernel_version",
  "kernel": "kernel",
  "initrd": "initrd",
  "disk": "disk.raw",
  "format": "raw",
  "append": "console=ttyS0 root=/dev/vda rw quiet",
  "suite": "$suite",
  "architecture": "$architecture",
  "kernel_version": "$kernel_version",
  "created": "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
}
J
}

# All or nothing: the folder appears under its name only when everything in it is on the disk.
publish() {
  local new=$output.new-done00 old=$output.old-done00
  mkdir "$new"
  mv "$work/kernel.image" "$new/kernel"
  mv "$work/initrd" "$work/disk.raw" "$work/image.json" "$new/"
  sync -f "$new"
  [[ ! -e $output ]] || mv "$output" "$old"
  mv "$new" "$output"
  rm -rf -- "$old"
  say "the image is ready in $output"
}

main "$@"
