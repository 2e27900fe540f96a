#!/bin/sh
# Make an empty virtual environment from the first Python that is new enough: make-venv.sh FOLDER
set -eu

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Debian and Ubuntu ship `venv` apart from Python; without it `-m venv` fails halfway.
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

install_venv() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return 0; fi
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    echo "installing $package with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    words=$(apt-get update -q 2>&1 && apt-get install -q -y --no-install-recommends "$package" 2>&1) ||
        { echo "$words" >&2; return 0; }
}

python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if fits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "error: Python 3.11 or later is needed (python3, python3.13, python3.12 or python3.11)" >&2
    exit 1
fi

has_venv "$python" || install_venv "$python"
if ! has_venv "$python"; then
    echo "error: $python has no venv module: install it (Debian and Ubuntu: apt-get install python3-venv)" >&2
    exit 1
fi
exec "$python" -m venv "$1"
