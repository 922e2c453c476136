-- The four roles of Malote, for an operator to read and to run once per cluster as a superuser:
--   psql -v migration_admin=... -v app_rw=... -v app_system=... -v readonly_audit=... -f roles.sql
-- (each variable is that role's password). Nothing here grants on tables: `malote migrate up` does that, as the owner.

\set ON_ERROR_STOP on

-- Owns the database and the schema `app`; the only role that changes tables. Used by `malote migrate` alone.
CREATE ROLE migration_admin LOGIN PASSWORD :'migration_admin';
-- The API: reads and writes rows of one tenant at a time, under row-level security.
CREATE ROLE app_rw LOGIN PASSWORD :'app_rw' CONNECTION LIMIT 200;
-- The committer, the planner and the operators' API: cross tenants, and own nothing either.
CREATE ROLE app_system LOGIN PASSWORD :'app_system' CONNECTION LIMIT 200;
-- Auditors and verification commands: read only.
CREATE ROLE readonly_audit LOGIN PASSWORD :'readonly_audit' CONNECTION LIMIT 20;

ALTER ROLE migration_admin SET search_path = app;
ALTER ROLE app_rw SET search_path = app;
ALTER ROLE app_system SET search_path = app;
ALTER ROLE readonly_audit SET search_path = app;

-- A frozen process must not hold locks: a transaction that idles for two seconds is ended.
ALTER ROLE app_rw SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE app_system SET idle_in_transaction_session_timeout = '2s';
ALTER ROLE app_rw SET lock_timeout = '2s';
ALTER ROLE app_system SET lock_timeout = '2s';
ALTER ROLE migration_admin SET lock_timeout = '2s';
ALTER ROLE app_rw SET statement_timeout = '15s';
ALTER ROLE app_system SET statement_timeout = '15s';
ALTER ROLE app_rw SET tcp_user_timeout = '5s';
ALTER ROLE app_system SET tcp_user_timeout = '5s';
ALTER ROLE readonly_audit SET statement_timeout = '10min';
ALTER ROLE readonly_audit SET default_transaction_read_only = on;
