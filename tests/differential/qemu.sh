#!/bin/bash
# qemu.sh FILE: makes FILE a qemu-riscv64 (user mode) of version 10 or later. $DOPPEL_QEMU_RISCV64, if set, is taken; then
# what is installed; else Debian 13's package is unpacked beside FILE, from the mirror that this machine's apt uses.
set -euo pipefail
file=$1
oldest=10

give_up() {
  echo "$1" >&2
  exit 1
}

usable() {
  local version
  version=$("$1" --version 2>/dev/null | sed -n '1s/.*version \([0-9]*\).*/\1/p') || return 1
  [ -n "$version" ] && [ "$version" -ge $oldest ]
}

mkdir -p "$(dirname "$file")"
if [ -n "${DOPPEL_QEMU_RISCV64:-}" ]; then
  usable "$DOPPEL_QEMU_RISCV64" || give_up "$DOPPEL_QEMU_RISCV64 is not a qemu-riscv64 of version $oldest or later"
  [ "$DOPPEL_QEMU_RISCV64" -ef "$file" ] || ln -sf "$DOPPEL_QEMU_RISCV64" "$file"
  exit 0
fi
usable "$file" && exit 0
for name in qemu-riscv64 qemu-riscv64-static; do
  installed=$(command -v $name) && usable "$installed" && { ln -sf "$installed" "$file"; exit 0; }
done

command -v apt-get >/dev/null || give_up "install qemu-riscv64 of version $oldest or later, or name one in DOPPEL_QEMU_RISCV64"
dir=$(cd "$(dirname "$file")" && pwd)
site=$(apt-get indextargets --format '$(SITE)' | sort | uniq -c | sort -rn | awk 'NR==1{print $2}')
mkdir -p "$dir"/apt/{state/lists/partial,cache/archives/partial}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site trixie main" > "$dir/apt/sources.list"
cat > "$dir/apt/conf" <<C
APT::Sandbox::User "root"; Dir::State "$dir/apt/state"; Dir::State::status "/dev/null"; Dir::Cache "$dir/apt/cache";
Dir::Etc::sourcelist "$dir/apt/sources.list"; Dir::Etc::sourceparts "-";
C
cd "$dir/apt"
export APT_CONFIG=$dir/apt/conf
apt-get update -qq
apt-get download -qq qemu-user
dpkg -x qemu-user_*.deb root
ln -sf "$dir/apt/root/usr/bin/qemu-riscv64" "$file"
usable "$file" || give_up "the qemu-riscv64 of Debian's qemu-user does not run here"
