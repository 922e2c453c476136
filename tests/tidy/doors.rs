//! One door to a tenant's rows: a transaction that names the tenant (`begin_for`), under row-level security.

use crate::reading::{code_of, sources};
use crate::report;

/// What opens another door, and where in `src/api` it may stand: operators' routes; what must be known before the tenant is; what
/// concerns no tenant's rows.
const OTHER_DOORS: &[(&str, &[&str])] = &[
    (
        "app_system",
        &[
            "src/api/admin/",
            "src/api/authentication.rs",
            "src/api/context.rs",
            "src/api/health.rs",
            "src/api/idempotency.rs",
            "src/api/server.rs",
        ],
    ),
    ("app_rw.get(", &["src/api/authentication.rs"]),
    (".begin()", &["src/api/admin/", "src/api/idempotency.rs"]),
];

#[test]
fn routes_of_tenants_reach_rows_through_begin_for_alone() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.starts_with("src/api/")) {
        for (number, line) in code_of(file) {
            for (words, rooms) in OTHER_DOORS {
                if line.contains(words) && !rooms.iter().any(|room| file.starts_with(room)) {
                    found.push(format!("{file}:{number} opens another door: {words}"));
                }
            }
        }
    }
    report(
        &found,
        "a tenant's rows are reached through `app_rw.begin_for(tenant)`",
    );
}
