#!/bin/sh
# Makes the roles and the database. The postgres image runs this once, when its volume is empty (deploy/compose.yaml).
# POSTGRES_PASSWORD comes from the image's entry point, which has read it from the secret.
set -eu
export PGPASSWORD="$POSTGRES_PASSWORD"
secret() { cat "/run/secrets/$1"; }

psql -X -q -v ON_ERROR_STOP=1 -U postgres -d postgres \
    -v migration_admin="$(secret migration_admin)" -v app_rw="$(secret app_rw)" \
    -v app_system="$(secret app_system)" -v readonly_audit="$(secret readonly_audit)" \
    -f /etc/malote/roles.sql
psql -X -q -v ON_ERROR_STOP=1 -U postgres -d postgres -c 'CREATE DATABASE malote OWNER migration_admin'
