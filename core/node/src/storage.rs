//! Writes state files in the background, so that a slow disk never holds up the control task.
//!
//! The newest content of each file is what gets written. What cannot be written (full disk, read-only file
//! system) stays in memory and is tried again each minute; the node goes on and says so in its status.

use crate::state::{Item, StateDir};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

const RETRY: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Storage {
    inbox: Arc<Inbox>,
    trouble: watch::Receiver<Option<String>>,
    task: JoinHandle<()>,
}

/// The newest content of each file that is to be written.
#[derive(Debug, Default)]
struct Inbox {
    contents: Mutex<BTreeMap<Item, Vec<u8>>>,
    closed: AtomicBool,
    wake: Notify,
}

impl Inbox {
    fn contents(&self) -> MutexGuard<'_, BTreeMap<Item, Vec<u8>>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage {
    pub(crate) fn start(dir: Arc<StateDir>) -> Self {
        let inbox = Arc::new(Inbox::default());
        let (report, trouble) = watch::channel(None);
        Self {
            inbox: inbox.clone(),
            trouble,
            task: tokio::spawn(run(dir, inbox, report)),
        }
    }

    /// Has a file replaced soon.
    pub(crate) fn write(&self, item: Item, content: Vec<u8>) {
        self.inbox.contents().insert(item, content);
        self.inbox.wake.notify_one();
    }

    /// Why the last attempt failed, until one succeeds.
    pub(crate) fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Writes what is left, once.
    pub(crate) async fn finish(self) {
        self.inbox.closed.store(true, Ordering::Release);
        self.inbox.wake.notify_one();
        let _ = self.task.await;
    }
}

async fn run(dir: Arc<StateDir>, inbox: Arc<Inbox>, report: watch::Sender<Option<String>>) {
    let mut dirty: BTreeMap<Item, Vec<u8>> = BTreeMap::new();
    loop {
        tokio::select! {
            () = inbox.wake.notified() => {}
            () = tokio::time::sleep(RETRY), if !dirty.is_empty() => {}
        }
        // Looked at before the contents, so that nothing written before the closing is missed.
        let closed = inbox.closed.load(Ordering::Acquire);
        dirty.append(&mut inbox.contents());
        let trouble;
        (dirty, trouble) = write_all(dir.clone(), dirty).await;
        report.send_if_modified(|before| {
            match &trouble {
                Some(reason) if before.is_none() => tracing::error!(reason, "state is kept in memory only"),
                None if before.is_some() => tracing::info!("state can be written again"),
                _ => {}
            }
            let changed = *before != trouble;
            *before = trouble;
            changed
        });
        if closed {
            return;
        }
    }
}

/// Returns what could not be written, and why.
async fn write_all(
    dir: Arc<StateDir>,
    dirty: BTreeMap<Item, Vec<u8>>,
) -> (BTreeMap<Item, Vec<u8>>, Option<String>) {
    let work = move || {
        let mut trouble = None;
        let left = dirty
            .into_iter()
            .filter(|(item, content)| match dir.write(*item, content) {
                Ok(()) => false,
                Err(error) => {
                    trouble = Some(error.to_string());
                    true
                }
            })
            .collect();
        (left, trouble)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => (BTreeMap::new(), Some(error.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{state::Content, testing::TempDir};

    #[tokio::test]
    async fn newest_content_is_on_disk_after_finish() {
        let temp = TempDir::new("storage");
        let dir = Arc::new(StateDir::create(temp.path()).unwrap());
        let storage = Storage::start(dir.clone());
        (0..50_u8).for_each(|n| storage.write(Item::Seqno, vec![n]));
        storage.write(Item::Members, b"m".to_vec());
        storage.finish().await;
        assert_eq!(dir.read(Item::Seqno).unwrap(), Content::Intact(vec![49]));
        assert_eq!(dir.read(Item::Members).unwrap(), Content::Intact(b"m".to_vec()));
    }

    #[tokio::test]
    async fn failure_is_reported_and_healed() {
        let temp = TempDir::new("storage-fail");
        let dir = Arc::new(StateDir::create(temp.path()).unwrap());
        let obstacle = temp.path().join(".seqno.new");
        std::fs::create_dir(&obstacle).unwrap();
        let storage = Storage::start(dir.clone());
        let mut trouble = storage.trouble();
        storage.write(Item::Seqno, b"1".to_vec());
        trouble.wait_for(Option::is_some).await.unwrap();
        std::fs::remove_dir(&obstacle).unwrap();
        // The next write of any file takes the failed one along.
        storage.write(Item::Members, b"m".to_vec());
        trouble.wait_for(Option::is_none).await.unwrap();
        assert_eq!(dir.read(Item::Seqno).unwrap(), Content::Intact(b"1".to_vec()));
    }
}
