//! The registry's state in SQL: SQLite by default, Postgres by URL, the same statements for both.
//!
//! Everything that changes several rows, or gives out something unique, is one transaction that first takes the
//! lock of the single `network` row ([`Session::next_serial`]). So registries that share a database, and
//! commands beside a running server, take turns; the unique constraints only guard against mistakes.

mod migrations;
mod store;

pub(crate) use store::{NewNode, NodeRow, Record, TokenRow};

use crate::{DatabaseError, files};
use sqlx::{
    Any, AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Transaction,
    any::{AnyConnectOptions, AnyPoolOptions},
};
use std::{
    path::{Path, PathBuf},
    str::FromStr as _,
    sync::{Arc, Once},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Waiting longer than this for a connection or a lock is an error.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    Sqlite,
    Postgres,
}

/// A pool of connections to the registry's database.
#[derive(Clone, Debug)]
pub struct Database {
    pool: AnyPool,
    kind: DatabaseKind,
    /// For messages: the URL without its password.
    label: String,
    /// SQLite has one writer, and lets those who wait poll for their turn. Here they queue.
    writer: Option<Arc<Semaphore>>,
}

impl Database {
    /// Opens `sqlite:FILE` (made when missing, readable by its owner alone) or `postgres://…` (a Unix socket:
    /// `postgres:///DATABASE?host=/run/postgresql`), and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Self, DatabaseError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let target = Target::parse(url)?;
        if let Some(file) = &target.file {
            make_file(file, &target.label)?;
        }
        let pool = connect(&target).await?;
        let database = Self {
            pool,
            kind: target.kind,
            label: target.label,
            writer: (target.kind == DatabaseKind::Sqlite).then(|| Arc::new(Semaphore::new(1))),
        };
        migrations::run(&database).await?;
        Ok(database)
    }

    pub fn kind(&self) -> DatabaseKind {
        self.kind
    }

    /// The URL without its password.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// A transaction that only reads.
    pub(crate) async fn read(&self) -> Result<Session, DatabaseError> {
        self.begin("BEGIN", None).await
    }

    /// A transaction that writes. SQLite takes its one lock at once, because upgrading a read lock can fail.
    pub(crate) async fn write(&self) -> Result<Session, DatabaseError> {
        let Some(writer) = &self.writer else {
            return self.begin("BEGIN", None).await;
        };
        let turn = timeout(PATIENCE, Arc::clone(writer).acquire_owned()).await;
        let turn = turn
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| DatabaseError::Locked(self.label.clone()))?;
        self.begin("BEGIN IMMEDIATE", Some(turn)).await
    }

    async fn begin(
        &self,
        statement: &'static str,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Session, DatabaseError> {
        let transaction = self
            .pool
            .begin_with(statement)
            .await
            .map_err(|error| self.error(error))?;
        Ok(Session {
            transaction,
            database: self.clone(),
            _turn: turn,
        })
    }

    fn error(&self, error: sqlx::Error) -> DatabaseError {
        classify(self.kind, &self.label, error)
    }
}

/// One transaction; dropped without [`Session::commit`] it leaves no trace.
pub(crate) struct Session {
    transaction: Transaction<'static, Any>,
    database: Database,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Session {
    pub(crate) async fn commit(self) -> Result<(), DatabaseError> {
        let Self {
            transaction,
            database,
            _turn,
        } = self;
        transaction.commit().await.map_err(|error| database.error(error))
    }

    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.transaction
    }

    fn error(&self, error: sqlx::Error) -> DatabaseError {
        self.database.error(error)
    }
}

struct Target {
    kind: DatabaseKind,
    url: String,
    file: Option<PathBuf>,
    label: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, DatabaseError> {
        if let Some(file) = url.strip_prefix("sqlite:") {
            let file = file.strip_prefix("//").unwrap_or(file);
            if file.is_empty() || file.starts_with(':') {
                return Err(DatabaseError::Url(url.to_owned()));
            }
            let label = format!("sqlite:{file}");
            let url = format!("sqlite://{}?mode=rw", percent_encoded(file));
            return Ok(Self {
                kind: DatabaseKind::Sqlite,
                url,
                file: Some(file.into()),
                label,
            });
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let label = without_password(url);
            return Ok(Self {
                kind: DatabaseKind::Postgres,
                url: url.to_owned(),
                file: None,
                label,
            });
        }
        // It may hold a password in a form that we do not know: show the scheme only.
        let scheme = url.split(':').next().unwrap_or_default();
        Err(DatabaseError::Url(format!("{scheme}:…")))
    }
}

fn percent_encoded(path: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"/-._~".contains(&c);
    path.bytes()
        .map(|c| {
            if plain(c) {
                char::from(c).to_string()
            } else {
                format!("%{c:02X}")
            }
        })
        .collect()
}

/// Drops what stands between the user's name and the `@`, and the query, where a password may be as well.
fn without_password(url: &str) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    let shown = match rest.rsplit_once('@') {
        Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
        None => rest.to_owned(),
    };
    let host = query.split('&').find(|pair| pair.starts_with("host="));
    format!(
        "{scheme}://{shown}{}",
        host.map(|host| format!("?{host}")).unwrap_or_default()
    )
}

fn make_file(file: &Path, label: &str) -> Result<(), DatabaseError> {
    files::touch_private(file).map_err(|error| DatabaseError::Open {
        database: label.to_owned(),
        reason: format!(
            "cannot make the file: {error}; its directory must exist and be writable for this user"
        ),
    })
}

async fn connect(target: &Target) -> Result<AnyPool, DatabaseError> {
    let failure = |error: sqlx::Error| match classify(target.kind, &target.label, error) {
        DatabaseError::Other { database, source } => DatabaseError::Open {
            database,
            reason: source.to_string(),
        },
        other => other,
    };
    let options = AnyConnectOptions::from_str(&target.url)
        .map_err(failure)?
        .disable_statement_logging();
    // The statements that every connection begins with.
    let (connections, settings) = match target.kind {
        // Synchronous FULL: a token that was used stays used after a power cut.
        DatabaseKind::Sqlite => (
            8,
            "PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;",
        ),
        // A registry that freezes in a transaction must not hold up the others.
        DatabaseKind::Postgres => (
            8,
            "SET lock_timeout = '5s'; SET statement_timeout = '10s'; \
             SET idle_in_transaction_session_timeout = '5s'; SET client_min_messages = 'warning';",
        ),
    };
    // The pool tries again and again and then knows only that time is up: ask once without it for the reason.
    timeout(PATIENCE, try_once(&options, target.kind, settings))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(failure)?;
    let pool = AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(settings).execute(connection).await.map(drop) })
        })
        // SQLite ends a transaction by itself when the disk is full, which the driver does not notice: such a
        // connection never comes out of the transaction, and is dropped here.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
        .connect_lazy_with(options);
    Ok(pool)
}

async fn try_once(
    options: &AnyConnectOptions,
    kind: DatabaseKind,
    settings: &'static str,
) -> Result<(), sqlx::Error> {
    let mut connection = options.connect().await?;
    sqlx::raw_sql(settings).execute(&mut connection).await?;
    if kind == DatabaseKind::Sqlite {
        // Readers do not wait for writers. The file remembers it. Fails when the file can only be read.
        sqlx::raw_sql("PRAGMA journal_mode = WAL")
            .execute(&mut connection)
            .await?;
    }
    connection.close().await
}

/// Turns a driver's error into one that says what to do.
fn classify(kind: DatabaseKind, label: &str, error: sqlx::Error) -> DatabaseError {
    let database = label.to_owned();
    let code = match &error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed
        | sqlx::Error::Protocol(_) => return DatabaseError::Unreachable(database),
        sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
        _ => {
            return DatabaseError::Other {
                database,
                source: error,
            };
        }
    };
    match kind {
        // The low octet is the primary result code (sqlite.org/rescode.html).
        DatabaseKind::Sqlite => match code.parse::<u32>().unwrap_or_default() & 0xff {
            5 | 6 => DatabaseError::Locked(database),
            8 => DatabaseError::ReadOnly(database),
            13 => DatabaseError::Full(database),
            11 | 26 => DatabaseError::Corrupt {
                database,
                reason: error.to_string(),
            },
            14 => DatabaseError::Open {
                database,
                reason:
                    "the file cannot be opened; it and its directory must exist and be writable for this user"
                        .into(),
            },
            10 => DatabaseError::Unreachable(database),
            _ => DatabaseError::Other {
                database,
                source: error,
            },
        },
        // SQLSTATE (appendix A of the PostgreSQL manual).
        DatabaseKind::Postgres => match code.as_str() {
            "55P03" | "57014" | "25P03" | "40001" | "40P01" => DatabaseError::Locked(database),
            "25006" => DatabaseError::ReadOnly(database),
            "53100" => DatabaseError::Full(database),
            "57P01" | "57P02" | "57P03" | "53300" => DatabaseError::Unreachable(database),
            code if code.starts_with("08") => DatabaseError::Unreachable(database),
            code if code.starts_with("28") || code == "3D000" => DatabaseError::Open {
                database,
                reason: error.to_string(),
            },
            code if code.starts_with("XX") => DatabaseError::Corrupt {
                database,
                reason: error.to_string(),
            },
            _ => DatabaseError::Other {
                database,
                source: error,
            },
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_hide_passwords() {
        let label = |url: &str| Target::parse(url).map(|target| target.label);
        assert_eq!(
            label("postgres://osier:se:cr@et@db.example:5433/osier?host=/run/pg&password=hush").unwrap(),
            "postgres://osier@db.example:5433/osier?host=/run/pg"
        );
        let shown = label("mysql://root:secret@h/d").unwrap_err().to_string();
        assert!(
            !shown.contains("secret") && shown.contains("postgres://"),
            "{shown}"
        );
    }

    #[test]
    fn paths_with_odd_characters_are_kept() {
        let target = Target::parse("sqlite:/tmp/a b?c#d%.db").unwrap();
        assert_eq!(target.url, "sqlite:///tmp/a%20b%3Fc%23d%25.db?mode=rw");
        assert_eq!(target.file.unwrap(), Path::new("/tmp/a b?c#d%.db"));
    }
}
