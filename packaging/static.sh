#!/bin/sh
# Builds the executable without any shared library and copies it to the file named as the argument.
set -eu

out=${1:?usage: packaging/static.sh FILE}
cd "$(dirname "$0")/.."
arch=$(uname -m)
musl=$arch-unknown-linux-musl

if command -v musl-gcc >/dev/null && rustup target add "$musl"; then
    target=$musl
    # musl-gcc compiles the C in the crypto library and the allocator. It must not become the linker as well: the
    # executable would then want /lib/ld-musl-*.so.1, which an empty image does not have.
    export "CC_$(echo "$musl" | tr - _)=musl-gcc"
else
    # The fallback keeps glibc, linked in. The explicit target keeps the flag away from build scripts and macros.
    target=$arch-unknown-linux-gnu
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
fi

cargo build --release --locked --package tenure-cli --bin tenure --target "$target"
mkdir -p "$(dirname "$out")"
cp "${CARGO_TARGET_DIR:-target}/$target/release/tenure" "$out"
strip "$out"

# A file that still asks for a loader would only fail in the image.
if readelf --program-headers "$out" | grep -q INTERP; then
    echo "packaging/static.sh: $out is linked dynamically" >&2
    exit 1
fi
