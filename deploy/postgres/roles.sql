-- The four roles of Malote, for an operator to read and to run as a superuser, once per cluster and again whenever this file changes:
--   psql -v migration_admin=... -v app_rw=... -v app_system=... -v readonly_audit=... -f roles.sql
-- (each variable is that role's password). Every statement may run again. Nothing here grants on tables: `malote migrate up` does that,
-- as the owner of the database.

\set ON_ERROR_STOP on

-- Owns the database and the schema `app`; the only role that changes tables. Used by `malote migrate` alone.
SELECT 'CREATE ROLE migration_admin' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'migration_admin') \gexec
-- The API: reads and writes rows of one tenant at a time, under row-level security.
SELECT 'CREATE ROLE app_rw' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_rw') \gexec
-- The committer, the planner and the operators' API: cross tenants, and own nothing either.
SELECT 'CREATE ROLE app_system' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app_system') \gexec
-- Auditors and verification commands: read only.
SELECT 'CREATE ROLE readonly_audit' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'readonly_audit') \gexec

ALTER ROLE migration_admin LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD :'migration_admin';
ALTER ROLE app_rw LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 200 PASSWORD :'app_rw';
ALTER ROLE app_system LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 200 PASSWORD :'app_system';
ALTER ROLE readonly_audit LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 20
    PASSWORD :'readonly_audit';

ALTER ROLE migration_admin SET search_path = app;
ALTER ROLE app_rw SET search_path = app;
ALTER ROLE app_system SET search_path = app;
ALTER ROLE readonly_audit SET search_path = app;

-- A frozen process must not hold locks: a transaction that idles for two seconds is ended.
ALTER ROLE app_rw SET idle_in_transaction_session_timeout = '10s';
ALTER ROLE app_system SET idle_in_transaction_session_timeout = '2s';
ALTER ROLE migration_admin SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE readonly_audit SET idle_in_transaction_session_timeout = '60s';
-- Nobody waits long for a lock. A migration that gives up is tried again by `malote migrate up`; everyone behind it goes on meanwhile.
ALTER ROLE app_rw SET lock_timeout = '2s';
ALTER ROLE app_system SET lock_timeout = '2s';
ALTER ROLE migration_admin SET lock_timeout = '2s';
ALTER ROLE readonly_audit SET lock_timeout = '2s';
ALTER ROLE app_rw SET statement_timeout = '15s';
ALTER ROLE app_system SET statement_timeout = '15s';
-- An index of a large table takes its time; the locks that others wait for are bounded by lock_timeout.
ALTER ROLE migration_admin SET statement_timeout = '2h';
ALTER ROLE readonly_audit SET statement_timeout = '10min';
ALTER ROLE app_rw SET tcp_user_timeout = '5s';
ALTER ROLE app_system SET tcp_user_timeout = '5s';
-- A help against mistakes only: the role may turn it off. The grants are the fence.
ALTER ROLE readonly_audit SET default_transaction_read_only = on;
