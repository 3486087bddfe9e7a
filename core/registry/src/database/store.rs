//! Every statement the registry runs, in SQL that SQLite and Postgres both take.

use super::Session;
use crate::DatabaseError;
use osier_proto::{
    identity::{NodeId, TunnelKey},
    network::NetworkId,
    wallclock::UnixTime,
};
use sqlx::{Row as _, any::AnyRow};

#[derive(Clone, Debug)]
pub(crate) struct TokenRow {
    pub(crate) hash: String,
    pub(crate) uses: u64,
    pub(crate) uses_left: u64,
    pub(crate) created: UnixTime,
    pub(crate) expires: UnixTime,
}

#[derive(Clone, Debug)]
pub(crate) struct NodeRow {
    pub(crate) node: NodeId,
    pub(crate) tunnel_key: TunnelKey,
    pub(crate) name: String,
    pub(crate) subnet: u64,
    pub(crate) not_after: UnixTime,
    pub(crate) revoked: bool,
    pub(crate) enrolled: UnixTime,
    pub(crate) token: String,
}

/// What enrolment writes; also over an older row of the same node.
#[derive(Clone, Debug)]
pub(crate) struct NewNode<'a> {
    pub(crate) node: &'a NodeId,
    pub(crate) tunnel_key: &'a TunnelKey,
    pub(crate) name: &'a str,
    pub(crate) serial: u64,
    pub(crate) not_after: UnixTime,
    pub(crate) enrolled: UnixTime,
    pub(crate) token: &'a str,
}

#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) node: NodeId,
    pub(crate) sequence: u64,
    pub(crate) serial: u64,
    pub(crate) not_after: UnixTime,
    pub(crate) bundle: Vec<u8>,
}

/// Runs a statement made of constants and returns a driver's error as ours.
macro_rules! run {
    ($session:expr, $method:ident, $query:expr) => {{
        let result = $query.$method($session.connection()).await;
        result.map_err(|error| $session.error(error))
    }};
}

impl Session {
    // The network row.

    pub(crate) async fn network(&mut self) -> Result<Option<String>, DatabaseError> {
        let row = run!(
            self,
            fetch_optional,
            sqlx::query("SELECT id FROM network WHERE one = 1")
        )?;
        row.map(|row| self.get(&row, 0)).transpose()
    }

    /// Makes the row, unless another registry has just done so.
    pub(crate) async fn insert_network(&mut self, id: &NetworkId) -> Result<(), DatabaseError> {
        let insert = sqlx::query(
            "INSERT INTO network (one, id, next_serial, next_subnet) VALUES (1, $1, 1, 1) ON CONFLICT DO NOTHING",
        );
        run!(self, execute, insert.bind(id.to_string())).map(drop)
    }

    /// Waits for its turn and holds the network's lock until the transaction ends.
    pub(crate) async fn lock_network(&mut self) -> Result<(), DatabaseError> {
        let update = sqlx::query("UPDATE network SET one = 1 WHERE one = 1");
        run!(self, execute, update).map(drop)
    }

    /// The next certificate's serial. Holds the network's lock until the transaction ends.
    pub(crate) async fn next_serial(&mut self) -> Result<u64, DatabaseError> {
        let next = sqlx::query(
            "UPDATE network SET next_serial = next_serial + 1 WHERE one = 1 RETURNING next_serial - 1",
        );
        let row = run!(self, fetch_one, next)?;
        self.get_u64(&row, 0)
    }

    /// The number of the next /64 that nobody has had.
    pub(crate) async fn next_subnet(&mut self) -> Result<u64, DatabaseError> {
        let next = sqlx::query(
            "UPDATE network SET next_subnet = next_subnet + 1 WHERE one = 1 RETURNING next_subnet - 1",
        );
        let row = run!(self, fetch_one, next)?;
        self.get_u64(&row, 0)
    }

    // Tokens.

    pub(crate) async fn insert_token(&mut self, token: &TokenRow) -> Result<(), DatabaseError> {
        let insert = sqlx::query(
            "INSERT INTO tokens (hash, uses, uses_left, created, expires) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(token.hash.clone())
        .bind(number(token.uses))
        .bind(number(token.uses_left))
        .bind(number(token.created.0))
        .bind(number(token.expires.0));
        run!(self, execute, insert).map(drop)
    }

    pub(crate) async fn token(&mut self, hash: &str) -> Result<Option<TokenRow>, DatabaseError> {
        let select =
            sqlx::query("SELECT hash, uses, uses_left, created, expires FROM tokens WHERE hash = $1");
        let row = run!(self, fetch_optional, select.bind(hash.to_owned()))?;
        row.map(|row| self.read_token(&row)).transpose()
    }

    /// Newest first.
    pub(crate) async fn tokens(&mut self) -> Result<Vec<TokenRow>, DatabaseError> {
        let select = sqlx::query(
            "SELECT hash, uses, uses_left, created, expires FROM tokens ORDER BY created DESC, hash",
        );
        let rows = run!(self, fetch_all, select)?;
        rows.iter().map(|row| self.read_token(row)).collect()
    }

    /// Takes one use of the token; false when there is none to take.
    pub(crate) async fn use_token(&mut self, hash: &str, now: UnixTime) -> Result<bool, DatabaseError> {
        let update = sqlx::query(
            "UPDATE tokens SET uses_left = uses_left - 1 WHERE hash = $1 AND uses_left > 0 AND expires > $2",
        );
        let done = run!(self, execute, update.bind(hash.to_owned()).bind(number(now.0)))?;
        Ok(done.rows_affected() == 1)
    }

    pub(crate) async fn delete_token(&mut self, hash: &str) -> Result<(), DatabaseError> {
        let delete = sqlx::query("DELETE FROM tokens WHERE hash = $1");
        run!(self, execute, delete.bind(hash.to_owned())).map(drop)
    }

    pub(crate) async fn delete_tokens_expired_before(&mut self, time: UnixTime) -> Result<(), DatabaseError> {
        let delete = sqlx::query("DELETE FROM tokens WHERE expires < $1");
        run!(self, execute, delete.bind(number(time.0))).map(drop)
    }

    // Nodes.

    pub(crate) async fn node(&mut self, node: &NodeId) -> Result<Option<NodeRow>, DatabaseError> {
        let select = sqlx::query(
            "SELECT node, tunnel_key, name, subnet, not_after, revoked, enrolled, token FROM nodes WHERE node = $1",
        );
        let row = run!(self, fetch_optional, select.bind(node.to_string()))?;
        row.map(|row| self.read_node(&row)).transpose()
    }

    /// The member of this name.
    pub(crate) async fn node_named(&mut self, name: &str) -> Result<Option<NodeRow>, DatabaseError> {
        let select = sqlx::query(
            "SELECT node, tunnel_key, name, subnet, not_after, revoked, enrolled, token FROM nodes
             WHERE name = $1 AND revoked = 0",
        );
        let row = run!(self, fetch_optional, select.bind(name.to_owned()))?;
        row.map(|row| self.read_node(&row)).transpose()
    }

    /// By name.
    pub(crate) async fn nodes(&mut self) -> Result<Vec<NodeRow>, DatabaseError> {
        let select = sqlx::query(
            "SELECT node, tunnel_key, name, subnet, not_after, revoked, enrolled, token FROM nodes
             ORDER BY name, enrolled",
        );
        let rows = run!(self, fetch_all, select)?;
        rows.iter().map(|row| self.read_node(row)).collect()
    }

    /// False when the subnet is taken.
    pub(crate) async fn insert_node(
        &mut self,
        node: &NewNode<'_>,
        subnet: u64,
    ) -> Result<bool, DatabaseError> {
        let insert = sqlx::query(
            "INSERT INTO nodes (node, tunnel_key, name, subnet, serial, not_after, enrolled, token)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (subnet) DO NOTHING",
        )
        .bind(node.node.to_string())
        .bind(node.tunnel_key.to_string())
        .bind(node.name.to_owned())
        .bind(number(subnet))
        .bind(number(node.serial))
        .bind(number(node.not_after.0))
        .bind(number(node.enrolled.0))
        .bind(node.token.to_owned());
        Ok(run!(self, execute, insert)?.rows_affected() == 1)
    }

    pub(crate) async fn update_node(&mut self, node: &NewNode<'_>) -> Result<(), DatabaseError> {
        let update = sqlx::query(
            "UPDATE nodes SET tunnel_key = $2, name = $3, serial = $4, not_after = $5, token = $6 WHERE node = $1",
        )
        .bind(node.node.to_string())
        .bind(node.tunnel_key.to_string())
        .bind(node.name.to_owned())
        .bind(number(node.serial))
        .bind(number(node.not_after.0))
        .bind(node.token.to_owned());
        run!(self, execute, update).map(drop)
    }

    /// Ends the membership; its record goes, its row and prefix stay so that neither is given again.
    pub(crate) async fn mark_revoked(&mut self, node: &NodeId) -> Result<(), DatabaseError> {
        let update = sqlx::query("UPDATE nodes SET revoked = 1 WHERE node = $1");
        run!(self, execute, update.bind(node.to_string()))?;
        let delete = sqlx::query("DELETE FROM records WHERE node = $1");
        run!(self, execute, delete.bind(node.to_string())).map(drop)
    }

    // Records.

    /// False when the stored record is not older.
    pub(crate) async fn put_record(&mut self, record: &Record, now: UnixTime) -> Result<bool, DatabaseError> {
        let upsert = sqlx::query(
            "INSERT INTO records (node, sequence, serial, not_after, bundle, updated) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (node) DO UPDATE SET sequence = excluded.sequence, serial = excluded.serial,
                not_after = excluded.not_after, bundle = excluded.bundle, updated = excluded.updated
             WHERE records.sequence < excluded.sequence
                OR (records.sequence = excluded.sequence AND records.serial < excluded.serial)",
        )
        .bind(record.node.to_string())
        .bind(number(record.sequence))
        .bind(number(record.serial))
        .bind(number(record.not_after.0))
        .bind(record.bundle.clone())
        .bind(number(now.0));
        Ok(run!(self, execute, upsert)?.rows_affected() == 1)
    }

    pub(crate) async fn bundle(&mut self, node: &NodeId) -> Result<Option<Vec<u8>>, DatabaseError> {
        let select = sqlx::query("SELECT bundle FROM records WHERE node = $1");
        let row = run!(self, fetch_optional, select.bind(node.to_string()))?;
        row.map(|row| self.get(&row, 0)).transpose()
    }

    /// A random sample of the records of members other than `except` whose certificates hold at `now`.
    pub(crate) async fn sample_bundles(
        &mut self,
        except: &NodeId,
        now: UnixTime,
        limit: u64,
    ) -> Result<Vec<Vec<u8>>, DatabaseError> {
        let select = sqlx::query(
            "SELECT records.bundle FROM records JOIN nodes ON nodes.node = records.node
             WHERE nodes.revoked = 0 AND records.not_after > $1 AND records.node <> $2 ORDER BY RANDOM() LIMIT $3",
        );
        let select = select
            .bind(number(now.0))
            .bind(except.to_string())
            .bind(number(limit));
        let rows = run!(self, fetch_all, select)?;
        rows.iter().map(|row| self.get(row, 0)).collect()
    }

    // Revocation lists.

    /// The newest list.
    pub(crate) async fn revocations(&mut self) -> Result<Option<Vec<u8>>, DatabaseError> {
        let select = sqlx::query("SELECT list FROM revocations ORDER BY number DESC LIMIT 1");
        let row = run!(self, fetch_optional, select)?;
        row.map(|row| self.get(&row, 0)).transpose()
    }

    /// Its number.
    pub(crate) async fn revocation_number(&mut self) -> Result<Option<u64>, DatabaseError> {
        let select = sqlx::query("SELECT number FROM revocations ORDER BY number DESC LIMIT 1");
        let row = run!(self, fetch_optional, select)?;
        row.map(|row| self.get_u64(&row, 0)).transpose()
    }

    pub(crate) async fn insert_revocations(
        &mut self,
        list_number: u64,
        list: Vec<u8>,
        now: UnixTime,
    ) -> Result<(), DatabaseError> {
        let insert = sqlx::query("INSERT INTO revocations (number, list, created) VALUES ($1, $2, $3)");
        let insert = insert.bind(number(list_number)).bind(list).bind(number(now.0));
        run!(self, execute, insert).map(drop)
    }

    // Reading rows.

    fn get<'r, T>(&self, row: &'r AnyRow, index: usize) -> Result<T, DatabaseError>
    where
        T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
    {
        row.try_get(index).map_err(|error| self.error(error))
    }

    fn get_u64(&self, row: &AnyRow, index: usize) -> Result<u64, DatabaseError> {
        let value: i64 = self.get(row, index)?;
        u64::try_from(value).map_err(|_| self.corrupt("a negative number"))
    }

    fn get_time(&self, row: &AnyRow, index: usize) -> Result<UnixTime, DatabaseError> {
        self.get_u64(row, index).map(UnixTime)
    }

    fn read_token(&self, row: &AnyRow) -> Result<TokenRow, DatabaseError> {
        Ok(TokenRow {
            hash: self.get(row, 0)?,
            uses: self.get_u64(row, 1)?,
            uses_left: self.get_u64(row, 2)?,
            created: self.get_time(row, 3)?,
            expires: self.get_time(row, 4)?,
        })
    }

    fn read_node(&self, row: &AnyRow) -> Result<NodeRow, DatabaseError> {
        let node: String = self.get(row, 0)?;
        let tunnel_key: String = self.get(row, 1)?;
        Ok(NodeRow {
            node: node.parse().map_err(|_| self.corrupt("a node's key"))?,
            tunnel_key: tunnel_key.parse().map_err(|_| self.corrupt("a tunnel key"))?,
            name: self.get(row, 2)?,
            subnet: self.get_u64(row, 3)?,
            not_after: self.get_time(row, 4)?,
            revoked: self.get_u64(row, 5)? != 0,
            enrolled: self.get_time(row, 6)?,
            token: self.get(row, 7)?,
        })
    }

    pub(crate) fn corrupt(&self, what: &str) -> DatabaseError {
        DatabaseError::Corrupt {
            database: self.database.label.clone(),
            reason: what.to_owned(),
        }
    }
}

/// SQL has no unsigned numbers. Times, counts and sequences stay far below 2^63; one above it is kept at the edge.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
