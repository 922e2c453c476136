# Read by the scripts of this directory: the settings, the repository's key, and where PostgreSQL's programs are.
MALOTE_BACKUP_SETTINGS="${MALOTE_BACKUP_SETTINGS:-/etc/malote/backup.env}"
set -a
# shellcheck source=deploy/backup/backup.env
. "$MALOTE_BACKUP_SETTINGS"
set +a
PGBACKREST_REPO1_CIPHER_PASS="$(cat "$MALOTE_BACKUP_KEY_FILE")"
export PGBACKREST_REPO1_CIPHER_PASS MALOTE_BACKUP_SETTINGS
[ -n "$PGBACKREST_REPO1_CIPHER_PASS" ] || { echo "$MALOTE_BACKUP_KEY_FILE is empty" >&2; exit 1; }
PATH="${MALOTE_POSTGRESQL_BIN:-/usr/lib/postgresql/15/bin}:$PATH"
mkdir -p "$MALOTE_BACKUP_STATE/log" "$MALOTE_BACKUP_STATE/lock" "$MALOTE_BACKUP_STATE/spool"
