#!/usr/bin/env bash
# Makes `cargo build --target wasm32-wasip2` work with the toolchain that is in use here. Quiet
# when it works already; what it does otherwise it says on standard error.
#
#   1. rustup target add wasm32-wasip2: the ordinary way, and all that most machines need.
#   2. Where rustup's server is out of reach, on Debian: compiles the standard library of this very
#      rustc from Debian's source package and puts it, with Debian's wasi-libc, where rustup would
#      have put it. That takes one to three minutes, once.
#
# rustup does not list a target that came by way 2, and will not add it over these files. To change
# over to rustup's: WASM_TARGET_WAYS=1 scripts/wasm-target.sh --again
set -euo pipefail

TARGET=wasm32-wasip2
WAYS=${WASM_TARGET_WAYS:-1 2}
RUSTUP_SECONDS=${WASM_TARGET_RUSTUP_SECONDS:-60}
MARK=from-wasm-target.sh # lies in a target folder that we made

say() { echo "wasm-target: $*" >&2; }

installed() { compgen -G "$(rustc --print target-libdir --target $TARGET)/libstd-*.rlib" >/dev/null; }

if [ "${1:-}" != --again ] && installed; then exit; fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# The toolchain that applies where we were called, from an empty folder without settings of its own.
RUSTUP_TOOLCHAIN=$(rustup show active-toolchain | cut -d' ' -f1)
export RUSTUP_TOOLCHAIN
cd "$tmp"
version=$(rustc -V | cut -d' ' -f2)
target_folder=$(rustc --print sysroot)/lib/rustlib/$TARGET

works() { # does a program that uses std come out as a component?
    echo 'fn main() { println!("{:?}", std::env::args()) }' >probe.rs
    rustc --target $TARGET -o probe.wasm probe.rs >rustc.log 2>&1 &&
        [ "$(head -c 8 probe.wasm | od -An -tx1 | tr -d ' ')" = 0061736d0d000100 ]
}

from_rustup() {
    if [ -e "$target_folder/$MARK" ]; then rm -rf "${target_folder:?}"; fi
    timeout "$RUSTUP_SECONDS" rustup target add $TARGET >rustup.log 2>&1 && return
    say "rustup target add: $(grep -m1 ^error rustup.log || echo "no answer in $RUSTUP_SECONDS s")"
    return 1
}

# apt-get and apt-cache with lists of their own, so that nothing in /etc or /var changes
apt_apart() {
    "$1" -qq -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$tmp/apt/parts" \
        -o Dir::State::lists="$tmp/apt/lists" -o Dir::Cache="$tmp/apt/cache" \
        -o Acquire::Check-Valid-Until=false -o APT::Sandbox::User=root "${@:2}" >&2
}

fetch_wasi_libc() { # unpacked in wasi/; Debian's stable release may have none for this target
    local mirror suite codename
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # apt's own placeholders
    mirror=$(apt-get indextargets --no-release-info \
        --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v release="$codename" '$2 == release && $3 == "main" { print $1; exit }')
    [ -n "$mirror" ] || { say "no Debian mirror among apt's sources"; return 1; }
    mkdir -p apt/parts apt/lists/partial apt/cache/archives/partial wasi
    cat >apt/parts/debian.sources <<SOURCES
Types: deb deb-src
URIs: $mirror
Suites: trixie forky sid
Components: main
Targets: Packages Sources
Languages: none
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
    apt_apart apt-get update || say "not all of apt's lists came; going on"
    for suite in forky sid trixie; do # the nearest to the one in rustup's builds comes first
        apt_apart apt-get download "wasi-libc/$suite" && dpkg -x wasi-libc_*.deb wasi &&
            [ -e wasi/usr/lib/$TARGET/libc.a ] && return
        rm -f wasi-libc_*.deb
    done
    return 1
}

fetch_std() { # the library folder of this rustc's source, in src/
    local package found
    for package in rustc rustc-web; do
        found=$(apt_apart apt-cache showsrc $package 2>&1 |
            sed -n "s/^Version: \(${version//./\\.}+.*\)/\1/p" | sort -V | tail -1)
        if [ -n "$found" ] &&
            apt_apart apt-get source --download-only --tar-only "$package=$found"; then
            mkdir -p src
            tar xJf ${package}_*.orig.tar.xz -C src --strip-components=1 --wildcards '*/library'
            return
        fi
    done
    say "Debian has no source of rustc $version"
    return 1
}

from_debian() {
    command -v apt-get >/dev/null || { say "not a Debian machine"; return 1; }
    fetch_wasi_libc && fetch_std || return
    say "compiling rustc $version's standard library for $TARGET (one to three minutes)"
    CARGO_TARGET_DIR=$tmp/target RUSTC_BOOTSTRAP=1 \
        RUSTFLAGS="-Zforce-unstable-if-unmarked --remap-path-prefix=$tmp/src/library=/rustc/library" \
        cargo build --quiet --locked --profile dist --target $TARGET \
        --manifest-path src/library/sysroot/Cargo.toml --features backtrace >&2 || return
    rm -rf "${target_folder:?}"
    mkdir -p "$target_folder/lib/self-contained"
    touch "$target_folder/$MARK"
    cp target/$TARGET/dist/deps/*.rlib "$target_folder/lib"
    cp wasi/usr/lib/$TARGET/{crt1-command.o,crt1-reactor.o,libc.a} "$target_folder/lib/self-contained"
}

for way in $WAYS; do
    case $way in
    1) from_rustup || continue ;;
    2) from_debian || continue ;;
    *) say "WASM_TARGET_WAYS: there is no way $way"; exit 2 ;;
    esac
    if works; then
        say "$TARGET works with rustc $version"
        exit
    fi
    cat rustc.log >&2
done
say "no way to $TARGET; where rustup's server is in reach, run: rustup target add $TARGET"
exit 1
