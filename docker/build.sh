#!/bin/sh
# Runs inside the builder stage and leaves a static binary in /out/roundel.
#
# A builder image that brings /prebuilt/roundel is taken at its word: that is how the tests make
# the image on a machine without a registry.
set -eu

mkdir -p /out/state
if [ -x /prebuilt/roundel ]; then
    cp /prebuilt/roundel /out/roundel
    exit 0
fi

# The target is named although it is the host: without it the flag would also reach proc macros,
# which cannot be linked statically.
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-C target-feature=+crt-static"
# Which commit this is, where whoever builds the image says so: `roundel --version` names it.
export ROUNDEL_REVISION="${ROUNDEL_REVISION:-}"
cargo build --profile dist --locked --package roundel --target "$target"
cp "target/$target/dist/roundel" /out/roundel
