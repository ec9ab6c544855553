#!/bin/sh
# Installs the C library: install.sh PREFIX [DESTDIR]. Builds it first, where there is a cargo.
# With DESTDIR the files go there, and are meant to be found under PREFIX later.
set -eu
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: install.sh PREFIX [DESTDIR]" >&2
    exit 2
fi
prefix=$1
dest=${2:-}$prefix
here=$(cd "$(dirname "$0")" && pwd)
built=${CARGO_TARGET_DIR:-$here/../target}/release
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml" | head -n 1)
if command -v cargo > /dev/null; then
    (cd "$here/.." && cargo build --quiet --release -p minikv-c)
fi
for file in libminikv.a libminikv.so; do
    if [ ! -f "$built/$file" ]; then
        echo "$file is not built; run: cargo build --release -p minikv-c" >&2
        exit 1
    fi
done
case $prefix in
    /*) ;;
    *) echo "PREFIX must be absolute: $prefix" >&2; exit 2 ;;
esac
mkdir -p "$dest/include" "$dest/lib/pkgconfig"
install -m 644 "$here/include/minikv.h" "$dest/include/minikv.h"
install -m 644 "$built/libminikv.a" "$dest/lib/libminikv.a"
install -m 755 "$built/libminikv.so" "$dest/lib/libminikv.so.$version"
ln -sf "libminikv.so.$version" "$dest/lib/libminikv.so.0"
ln -sf libminikv.so.0 "$dest/lib/libminikv.so"
cat > "$dest/lib/pkgconfig/minikv.pc" <<PC
prefix=$prefix
includedir=\${prefix}/include
libdir=\${prefix}/lib

Name: minikv
Description: A key-value registry that lives inside your program
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lminikv
Libs.private: -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
PC
echo "installed minikv $version under $dest"
