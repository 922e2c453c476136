-- What a database of Malote needs before its first migration. Run by each `malote migrate up` as migration_admin, who owns the
-- database; every statement may run again.

DO $$
BEGIN
    -- By default everybody may connect and make temporary tables.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO app_rw, app_system, readonly_audit', current_database());
END
$$;
CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION migration_admin;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA app TO app_rw, app_system, readonly_audit;
ALTER DEFAULT PRIVILEGES FOR ROLE migration_admin IN SCHEMA app
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app_rw, app_system;
ALTER DEFAULT PRIVILEGES FOR ROLE migration_admin IN SCHEMA app GRANT USAGE, SELECT ON SEQUENCES TO app_rw, app_system;
ALTER DEFAULT PRIVILEGES FOR ROLE migration_admin IN SCHEMA app GRANT SELECT ON TABLES TO readonly_audit;
ALTER DEFAULT PRIVILEGES FOR ROLE migration_admin REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
