#!/bin/sh
# docker compose run --rm restore /backups/reelgate-….dump: into an empty database, before any service runs.
# One transaction: all of it, and the stop of all sends, or nothing.
set -eu
file="${1:?name the backup: /backups/reelgate-….dump}"
: "${PGHOST:=postgres}" "${PGUSER:=reelgate}" "${PGDATABASE:=reelgate}"
[ -n "${PGPASSWORD-}" ] || PGPASSWORD="$(cat /run/secrets/postgres/password)"
export PGHOST PGUSER PGDATABASE PGPASSWORD
if [ "$(psql --no-align --tuples-only --command="SELECT to_regclass('video_jobs') IS NULL")" != t ]; then
	echo "This database is not empty: restore into a new volume (deploy/README.md)." >&2
	exit 1
fi
script="$(mktemp)"
trap 'rm -f "$script"' EXIT
pg_restore --no-owner --file="$script" "$file"
# Jobs that wait in the backup may have been sent since: nothing goes out until somebody has said so. An operator's own
# pause stays behind it. As `reelgate pause --restored`, but in the restore's own transaction.
cat >>"$script" <<'SQL'
UPDATE public.breaker
   SET paused_at = now(),
       pause_reason = CASE WHEN starts_with(pause_reason, 'restored from a backup: run `reelgate restored`')
                           THEN pause_reason
                           ELSE 'restored from a backup: run `reelgate restored`'
                                || coalesce('; paused besides: ' || pause_reason, '') END;
SQL
psql --quiet --single-transaction --set=ON_ERROR_STOP=1 --output=/dev/null --file="$script"
echo "restored; sends are stopped until \`reelgate restored\`"
