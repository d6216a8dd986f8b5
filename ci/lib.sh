# shellcheck shell=bash
# What ci/demo, ci/test, ci/bench, ci/fuzz and ci/mutants share: saying what happens, installing Debian packages, and
# fetching the guests' kernels and the newer QEMU without installing them. Source it; it runs nothing.

NETQOS_CI_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Read by the test harness too, so that both look in the same place.
export NETQOS_CACHE="${NETQOS_CACHE:-/var/cache/netqos-vhost}"
# Raised when the layout below changes, so that an older cache is filled anew.
NETQOS_CACHE_LAYOUT=1
NETQOS_MIRROR="${NETQOS_MIRROR:-http://deb.debian.org}"
NETQOS_APT_UPDATED=

say() { printf '==> %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

need_root() {
    [[ $(id -u) -eq 0 ]] ||
        die "ci/${0##*/} must be run as root: it makes network namespaces and taps, and installs what it lacks."
}

# Rust with cargo, also where sudo has left it out of PATH. Cargo itself checks the version.
need_rust() {
    PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v cargo >/dev/null ||
        die "cargo is missing: install Rust 1.95 or later (https://rustup.rs), for root as well."
}

# A compiler for C and C++, which only root can install.
need_compiler() {
    command -v c++ >/dev/null && return 0
    [[ $(id -u) -eq 0 ]] || die "a C++ compiler is missing: install build-essential, or run this as root."
    install_packages build
}

# Three tries, a little apart: mirrors have bad moments.
retry() {
    local try
    for try in 1 2 3; do
        "$@" && return 0
        [[ $try -eq 3 ]] || sleep $((try * 3))
    done
    return 1
}

# Builds the daemon as it is shipped, and tells the harness where it is. By a command of its own: built
# together with the tests it would get the features that only they ask of its dependencies.
build_daemon() {
    cargo build --locked --release -p netqos-vhost
    export NETQOS_BIN="${NETQOS_BIN:-$(target_dir)/release/netqos-vhost}"
}

target_dir() { realpath -m "${CARGO_TARGET_DIR:-$NETQOS_CI_DIR/../target}"; }

package_installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# install_packages LIST...: installs what is missing from ci/packages.d/LIST.txt.
install_packages() {
    local list package missing=()
    for list in "$@"; do
        [[ -r $NETQOS_CI_DIR/packages.d/$list.txt ]] || die "there is no package list named $list."
        while read -r package; do
            [[ -z $package || $package == \#* ]] && continue
            package_installed "$package" || missing+=("$package")
        done <"$NETQOS_CI_DIR/packages.d/$list.txt"
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    command -v apt-get >/dev/null || die "missing ${missing[*]}, and this is no Debian machine to install them on."
    say "installing ${missing[*]}"
    if [[ -z $NETQOS_APT_UPDATED ]]; then
        retry apt-get -qq update || die "apt-get update failed: are the Debian mirrors reachable?"
        NETQOS_APT_UPDATED=yes
    fi
    retry env DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes \
        apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "${missing[@]}" >/dev/null ||
        die "apt-get could not install ${missing[*]}."
}

# private_apt DIR TOOL ARGS...: apt-get or apt-cache with sources, lists and caches of our own under DIR.
private_apt() {
    local dir=$1 tool=$2
    shift 2
    "$tool" -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" \
        -o APT::Sandbox::User=root "$@"
}

private_apt_setup() {
    local dir=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [[ -r $keyring ]] || die "$keyring is missing: install debian-archive-keyring."
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    cat >"$dir/sources.list" <<SOURCES
deb [signed-by=$keyring] $NETQOS_MIRROR/debian bookworm main
deb [signed-by=$keyring] $NETQOS_MIRROR/debian bookworm-backports main
deb [signed-by=$keyring] $NETQOS_MIRROR/debian-security bookworm-security main
SOURCES
    retry private_apt "$dir" apt-get -qq update || die "the Debian mirror $NETQOS_MIRROR could not be read."
}

# unpack_packages APTDIR TARGET PACKAGE=VERSION...: downloads packages and unpacks them under TARGET.
unpack_packages() {
    local apt=$1 target=$2 deb
    shift 2
    rm -rf "$apt/debs"
    mkdir -p "$apt/debs" "$target"
    (cd "$apt/debs" && retry private_apt "$apt" apt-get -qq download "$@") || die "could not download $*."
    for deb in "$apt"/debs/*.deb; do
        dpkg-deb -x "$deb" "$target"
        dpkg-deb -f "$deb" Package Version | paste -sd' ' | sed 's/Package: //; s/Version: //' >>"$target/versions"
    done
}

# The newest version of the cloud kernel's metapackage that starts with PREFIX, and the package it stands for.
cloud_kernel_package() {
    local apt=$1 prefix=$2
    private_apt "$apt" apt-cache show linux-image-cloud-amd64 |
        awk -v prefix="$prefix" '
            /^Version: / { wanted = index($2, prefix ".") == 1 }
            /^Depends: / && wanted { print $2, $4 }' |
        tr -d '()' | sort -Vk2 | tail -n1 | sed 's/ /=/'
}

fetch_kernel() {
    local apt=$1 target=$2 series=$3 package version
    package=$(cloud_kernel_package "$apt" "$series")
    [[ -n $package ]] || die "the Debian mirror has no cloud kernel $series."
    unpack_packages "$apt" "$target" "$package"
    version=$(ls "$target/lib/modules")
    cp "$target/boot/vmlinuz-$version" "$target/vmlinuz"
    PATH="$PATH:/usr/sbin:/sbin" depmod -b "$target" "$version"
}

# QEMU of bookworm-backports with whatever of its dependencies this machine lacks or has too old.
fetch_newer_qemu() {
    local apt=$1 target=$2 packages
    packages=$(private_apt "$apt" apt-get -s --no-install-recommends install -t bookworm-backports qemu-system-x86 |
        sed -n 's/^Inst \([^ ]*\) \(\[[^]]*\] \)\?(\([^ ]*\).*/\1=\3/p')
    [[ -n $packages ]] || die "apt-get found no QEMU in bookworm-backports."
    # shellcheck disable=SC2086 # a list of words
    unpack_packages "$apt" "$target" $packages
}

# fetch_part DIR NAME FUNCTION ARGS...: fills DIR/NAME once; what an interrupted run left is thrown away.
fetch_part() {
    local dir=$1 name=$2 function=$3
    shift 3
    if [[ $(cat "$dir/$name/complete" 2>/dev/null) == "$NETQOS_CACHE_LAYOUT" ]]; then
        return 0
    fi
    if [[ ! -r $dir/apt/ready ]]; then
        say "reading Debian's package lists for what is fetched and not installed"
        private_apt_setup "$dir/apt"
        touch "$dir/apt/ready"
    fi
    say "fetching $name into $dir"
    rm -rf "${dir:?}/$name" "$dir/partial"
    "$function" "$dir/apt" "$dir/partial" "$@"
    printf '%s\n' "$NETQOS_CACHE_LAYOUT" >"$dir/partial/complete"
    mv "$dir/partial" "$dir/$name"
}

# Prometheus' promtool, without the service that its package would start.
unpack_promtool() {
    local apt=$1 target=$2
    unpack_packages "$apt" "$target" prometheus
}

# filling_cache DIR COMMAND ARGS...: runs a command that fetches parts into DIR, when nobody else does.
filling_cache() {
    local dir=$1 lock
    shift
    mkdir -p "$dir"
    exec {lock}>"$dir/lock"
    flock "$lock"
    rm -rf "$dir/apt"
    "$@"
    rm -rf "$dir/apt" "$dir/partial"
    exec {lock}>&-
}

# Unpacks it into the cache and never installs it. The second run finds it there.
fetch_promtool() {
    filling_cache "$NETQOS_CACHE" fetch_part "$NETQOS_CACHE" promtool unpack_promtool
}

fetch_guest_parts() {
    local dir=$1
    fetch_part "$dir" kernel-6.1 fetch_kernel 6.1
    fetch_part "$dir" kernel-6.12 fetch_kernel 6.12
    fetch_part "$dir" qemu-10.0 fetch_newer_qemu
}

# fetch_guest_artifacts [DIR]: kernels 6.1 and 6.12 with their modules and QEMU 10.0, unpacked below DIR
# and never installed. The second run finds them there.
fetch_guest_artifacts() {
    local dir=${1:-$NETQOS_CACHE}
    filling_cache "$dir" fetch_guest_parts "$dir"
    say "guest artifacts in $dir: $(sort -u "$dir"/*/versions | grep -E '^(linux-image|qemu-system-x86)' | paste -sd, | sed 's/,/, /g'); installed: $(qemu-system-x86_64 --version | head -n1)"
}
