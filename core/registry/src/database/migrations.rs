//! The schema, as the steps that lead to it. A step that has been released is never edited; changes are new steps.

use super::{Database, DatabaseKind};
use crate::DatabaseError;
use sqlx::{AssertSqlSafe, Row as _};

/// `{bytes}` is the database's type for octets. Times are Unix seconds, keys and hashes hexadecimal text.
const STEPS: &[&[&str]] = &[&[
    // One row. Its lock is the order in which registries give out serials and prefixes.
    "CREATE TABLE network (
        one BIGINT PRIMARY KEY CHECK (one = 1),
        id TEXT NOT NULL,
        next_serial BIGINT NOT NULL,
        next_subnet BIGINT NOT NULL
    )",
    // Only the hash of a token is kept: a copy of the database lets nobody in.
    "CREATE TABLE tokens (
        hash TEXT PRIMARY KEY,
        uses BIGINT NOT NULL,
        uses_left BIGINT NOT NULL CHECK (uses_left >= 0),
        created BIGINT NOT NULL,
        expires BIGINT NOT NULL
    )",
    // token: the hash of the one it enrolled with, so that it may ask again when the answer was lost.
    "CREATE TABLE nodes (
        node TEXT PRIMARY KEY,
        tunnel_key TEXT NOT NULL,
        name TEXT NOT NULL,
        subnet BIGINT NOT NULL UNIQUE,
        serial BIGINT NOT NULL,
        not_after BIGINT NOT NULL,
        revoked BIGINT NOT NULL DEFAULT 0,
        enrolled BIGINT NOT NULL,
        token TEXT NOT NULL
    )",
    // The name of a revoked node may be given again.
    "CREATE UNIQUE INDEX nodes_name ON nodes (name) WHERE revoked = 0",
    "CREATE TABLE records (
        node TEXT PRIMARY KEY REFERENCES nodes (node),
        sequence BIGINT NOT NULL,
        serial BIGINT NOT NULL,
        not_after BIGINT NOT NULL,
        bundle {bytes} NOT NULL,
        updated BIGINT NOT NULL
    )",
    "CREATE TABLE revocations (
        number BIGINT PRIMARY KEY,
        list {bytes} NOT NULL,
        created BIGINT NOT NULL
    )",
]];

pub(super) async fn run(database: &Database) -> Result<(), DatabaseError> {
    let known = STEPS.len() as i64;
    let mut session = database.write().await?;
    let failure = |error| database.error(error);
    let bytes = match database.kind() {
        DatabaseKind::Sqlite => "BLOB",
        DatabaseKind::Postgres => {
            // Two registries may start at once; SQLite's lock is taken already. The number is arbitrary.
            let lock = sqlx::query("SELECT 1 FROM pg_advisory_xact_lock(6690197)");
            lock.execute(session.connection()).await.map_err(failure)?;
            "BYTEA"
        }
    };
    let table = sqlx::query("CREATE TABLE IF NOT EXISTS schema_steps (step BIGINT PRIMARY KEY)");
    table.execute(session.connection()).await.map_err(failure)?;
    let found = sqlx::query("SELECT COALESCE(MAX(step), 0) FROM schema_steps");
    let found: i64 = found
        .fetch_one(session.connection())
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failure)?;
    if found > known {
        return Err(DatabaseError::Newer {
            database: database.label().to_owned(),
            found,
            known,
        });
    }
    for (step, statements) in (1i64..).zip(STEPS).skip(found as usize) {
        for statement in *statements {
            // Our own constant text with our own constant word in it.
            let statement = AssertSqlSafe(statement.replace("{bytes}", bytes));
            sqlx::query(statement)
                .execute(session.connection())
                .await
                .map_err(failure)?;
        }
        let done = sqlx::query("INSERT INTO schema_steps (step) VALUES ($1)").bind(step);
        done.execute(session.connection()).await.map_err(failure)?;
    }
    session.commit().await
}
