# Sourced by ./doppel and ./test: installs Debian packages and builds. Sets nothing but functions and $top.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf 'doppel: %s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }

# missing_packages SET...: those of the sets in packages.txt that are not installed.
missing_packages() {
  local wanted installed
  wanted=$(awk -v sets=" $* " '!/^#/ && NF == 2 && index(sets, " " $1 " ") { print $2 }' "$top/cmake/packages.txt" | sort -u)
  # Of packages that it never heard of dpkg-query says so, and fails.
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $wanted 2>/dev/null | sed -n 's/ installed$//p' | sort -u) || true
  comm -23 <(echo "$wanted") <(echo "$installed")
}

# as_root COMMAND...: by sudo if need be, asking for a password only where someone can answer.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif [[ -t 0 && -t 2 ]]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

# ensure_packages SET...: installs what is missing of the sets in packages.txt.
ensure_packages() {
  command -v dpkg-query >/dev/null ||
    fail "this is no Debian: install the counterparts of cmake/packages.txt by hand and build with cmake, see README.md"
  local missing log
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]} > 0)) || return 0
  ((EUID == 0)) || command -v sudo >/dev/null ||
    fail "these packages are missing and this is neither root nor is there sudo; have them installed: ${missing[*]}"
  say "installing ${#missing[@]} packages: ${missing[*]}"
  log=$(mktemp)
  if ! install_packages "$log" "${missing[@]}"; then
    say "cannot install the packages: $(grep -h '^E: \|^Err:\|^sudo:\|unreachable\|resolve' "$log" | tail -n 1 | sed 's/^E: //'); check the network and apt's sources"
    rm -f "$log"
    exit 2
  fi
  rm -f "$log"
}

# install_packages LOG PACKAGE...: apt's own account goes to LOG, how far it is to the terminal.
install_packages() {
  local log=$1
  shift
  as_root apt-get update -q -o APT::Update::Error-Mode=any >>"$log" 2>&1 || as_root apt-get update -q >>"$log" 2>&1 || return 1
  # The descriptor of the status lines is made on root's side, because sudo closes those that it is given.
  as_root sh -c 'DEBIAN_FRONTEND=noninteractive exec apt-get install -q -y --no-install-recommends -o Dpkg::Use-Pty=false \
    -o APT::Status-Fd=3 "$@" 3>&1 >&2' apt-get "$@" 2>>"$log" | show_progress
  return "${PIPESTATUS[0]}"
}

# Turns apt's status lines (dlstatus:N:PERCENT:TEXT, pmstatus:PACKAGE:PERCENT:TEXT) into one line that counts.
show_progress() {
  local kind percent shown= what
  while IFS=: read -r kind _ percent _; do
    case $kind in
      dlstatus) what=downloading ;;
      pmstatus) what=installing ;;
      *) continue ;;
    esac
    [[ "$what ${percent%%.*}" != "$shown" ]] || continue
    shown="$what ${percent%%.*}"
    if [[ -t 2 ]]; then
      printf '\rdoppel: %s packages: %3s %% ' "$what" "${percent%%.*}" >&2
    fi
  done
  [[ ! -t 2 || -z $shown ]] || printf '\r\033[K' >&2
}

# configure DIR OPTION...: a build folder. Its settings stay: only a folder that is new gets the options by default.
configure() {
  local dir=$1 log
  shift
  log=$(mktemp)
  cmake -S "$top" -B "$dir" -G Ninja -DCMAKE_C_COMPILER=clang-19 -DCMAKE_CXX_COMPILER=clang++-19 "$@" >"$log" 2>&1 ||
    { cat "$log" >&2; rm -f "$log"; fail "cmake could not set up the build in $dir, see above"; }
  rm -f "$log"
}

# build DIR TARGET...: with one line of progress on a terminal.
build() {
  local dir=$1
  shift
  NINJA_STATUS='doppel: building %f of %t: ' ninja -C "$dir" "$@" >&2 || fail "the build failed, see above"
}
