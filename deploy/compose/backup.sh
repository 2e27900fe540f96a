#!/bin/sh
# docker compose run --rm backup: the whole database as of now, while everything runs.
set -eu
umask 077
: "${PGHOST:=postgres}" "${PGUSER:=reelgate}" "${PGDATABASE:=reelgate}" "${BACKUPS:=/backups}"
[ -n "${PGPASSWORD-}" ] || PGPASSWORD="$(cat /run/secrets/postgres/password)"
export PGHOST PGUSER PGDATABASE PGPASSWORD
file="$BACKUPS/reelgate-$(date -u +%Y%m%dT%H%M%SZ).dump"
pg_dump --format=custom --file="$file.part"
pg_restore --list "$file.part" >/dev/null # it can be read
mv "$file.part" "$file"
echo "$file"
