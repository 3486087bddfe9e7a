//! Revocation: nodes that no longer belong, and the signed list that says so.

use crate::{
    DatabaseError, Error, Registry,
    database::{NodeRow, Session},
};
use osier_proto::{
    identity::NodeId,
    revocation::{MAX_REVOKED, RevocationList},
};
use serde::Serialize;

/// A list is signed anew when its delegation ends within this time.
const RESIGN_AHEAD: u64 = 30 * 86_400;
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevokedNode {
    pub node: NodeId,
    pub name: String,
    /// Of the list that says so.
    pub list_number: u64,
    /// It was revoked before.
    pub already: bool,
}

impl Registry {
    /// Ends a node's membership for good: it gets no certificate any more, and the new list, which members fetch
    /// and pass on, voids those it has. By name, or by at least 8 digits of its key.
    pub async fn revoke_node(&self, name_or_key: &str) -> Result<RevokedNode, Error> {
        let mut session = self.database().write().await?;
        session.lock_network().await?;
        let node = find_node(&mut session, name_or_key).await?;
        let list = self.stored_list(&mut session).await?;
        let (list_number, already) = if node.revoked && list.revoked.iter().any(|&(id, _)| id == node.node) {
            (list.number, true)
        } else {
            session.mark_revoked(&node.node).await?;
            let mut revoked = self.still_needed(&mut session, &list).await?;
            revoked.push((node.node, u64::MAX));
            if revoked.len() > MAX_REVOKED {
                return Err(Error::TooManyRevoked);
            }
            self.insert_list(&mut session, list.number + 1, revoked).await?;
            (list.number + 1, false)
        };
        session.commit().await?;
        Ok(RevokedNode {
            node: node.node,
            name: node.name,
            list_number,
            already,
        })
    }

    /// Entries of nodes that may still have a certificate somebody accepts.
    async fn still_needed(
        &self,
        session: &mut Session,
        list: &RevocationList,
    ) -> Result<Vec<(NodeId, u64)>, DatabaseError> {
        let mut kept = Vec::new();
        for &(node, serial) in &list.revoked {
            let over = match session.node(&node).await? {
                Some(row) => self.now() > self.renewable_until(row.not_after),
                // Not ours to judge.
                None => false,
            };
            if !over {
                kept.push((node, serial));
            }
        }
        Ok(kept)
    }

    pub(crate) async fn insert_list(
        &self,
        session: &mut Session,
        number: u64,
        revoked: Vec<(NodeId, u64)>,
    ) -> Result<(), Error> {
        let now = self.now();
        let (issuer, delegation) = self.dir().issuer(now)?;
        let list = RevocationList::sign(number, revoked, issuer, Some(delegation), &self.network().id());
        let list = list.map_err(|_| Error::TooManyRevoked)?;
        Ok(session.insert_revocations(number, list.encode(), now).await?)
    }

    pub(crate) async fn stored_list(&self, session: &mut Session) -> Result<RevocationList, DatabaseError> {
        let bytes = session
            .revocations()
            .await?
            .ok_or_else(|| session.corrupt("there is no revocation list"))?;
        RevocationList::decode(&bytes).map_err(|_| session.corrupt("the revocation list is unreadable"))
    }

    /// The newest revocation list.
    pub async fn revocations(&self) -> Result<RevocationList, Error> {
        let mut session = self.database().read().await?;
        Ok(self.stored_list(&mut session).await?)
    }

    /// The number of the newest list.
    pub(crate) async fn revocation_number(&self) -> Result<u64, Error> {
        let mut session = self.database().read().await?;
        Ok(session.revocation_number().await?.unwrap_or_default())
    }

    /// Renews the delegation if it is time and the root key is here, and signs the list anew before the delegation
    /// it carries ends.
    pub(crate) async fn maintain(&self) -> Result<(), Error> {
        let now = self.now();
        self.dir().refresh(now)?;
        let ahead = now.saturating_add(RESIGN_AHEAD);
        let lasts = |list: &RevocationList| {
            // The list's own check adds the grace.
            list.verify(self.network(), ahead.saturating_add(self.network().grace))
                .is_ok()
        };
        if lasts(&self.revocations().await?) || self.dir().delegation().not_after <= ahead {
            return Ok(());
        }
        let mut session = self.database().write().await?;
        session.lock_network().await?;
        let list = self.stored_list(&mut session).await?;
        if !lasts(&list) {
            let revoked = self.still_needed(&mut session, &list).await?;
            self.insert_list(&mut session, list.number + 1, revoked).await?;
        }
        Ok(session.commit().await?)
    }
}

async fn find_node(session: &mut Session, name_or_key: &str) -> Result<NodeRow, Error> {
    if let Some(node) = session.node_named(name_or_key).await? {
        return Ok(node);
    }
    let wanted = name_or_key.to_ascii_lowercase();
    let nodes = session.nodes().await?;
    let by_key = |row: &NodeRow| wanted.len() >= 8 && row.node.to_string().starts_with(&wanted);
    let mut found: Vec<NodeRow> = nodes.iter().filter(|row| by_key(row)).cloned().collect();
    if found.is_empty() {
        // Revoked before: say so instead of "unknown".
        found = nodes
            .into_iter()
            .filter(|row| row.name == wanted)
            .take(1)
            .collect();
    }
    match (found.pop(), found.is_empty()) {
        (Some(node), true) => Ok(node),
        (Some(_), false) => Err(Error::AmbiguousNode(name_or_key.to_owned())),
        (None, _) => Err(Error::NoSuchNode(name_or_key.to_owned())),
    }
}
