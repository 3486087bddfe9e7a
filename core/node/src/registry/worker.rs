//! What a node wants of the registry, in the background.
//!
//! Two tasks: one does jobs (renew, publish, fetch members), one at a time, and repeats what failed with
//! back-off; the other holds a request open for the next revocation list, which is also how we notice that a
//! registry has come back. A leaf does without the other one, which would wake its radio every minute: the node asks
//! for the list now and then.

use super::{Client, RegistryError, client::Timed};
use crate::random;
use osier_proto::{
    certificate::Certificate,
    network::{Network, SignedNetwork},
    record::Bundle,
    revocation::RevocationList,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::Instant,
};

/// Members asked for at once.
const SAMPLE: usize = 200;
/// How long the registry may hold a request for revocations.
const HOLD: Duration = Duration::from_secs(50);
/// Least time between two such requests, should a registry or a proxy not hold them.
const HOLD_LEAST: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// For jobs: a renewal has days, a record is gossiped anyway.
const LAST_RETRY: Duration = Duration::from_secs(5 * 60);
/// For revocations: these are to arrive within a minute.
const LAST_HOLD_RETRY: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub enum Job {
    Renew,
    /// A newer record replaces one that still waits.
    Publish(Box<Bundle>),
    FetchDirectory,
    /// For those who do not hold a request open.
    FetchRevocations,
    /// The newest list we hold has this number.
    RevocationsAt(u64),
}

/// What the worker found out.
#[derive(Debug)]
pub enum Report {
    /// A request succeeded; the registry's clock shows this many seconds more than ours.
    Reachable {
        skew: Option<i64>,
    },
    Failed(RegistryError),
    Renewed(Box<(Certificate, SignedNetwork, RevocationList)>),
    Directory(Vec<Bundle>, Box<RevocationList>),
    Revocations(Box<RevocationList>),
}

#[derive(Debug)]
pub struct WorkerConfig {
    pub client: Arc<Client>,
    pub network: Network,
    pub revocation_number: u64,
    /// Whether to be told of revocations at once, by a request that the registry holds.
    pub holds_requests: bool,
}

/// Runs until dropped.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    number: watch::Sender<u64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Worker {
    pub fn start(config: WorkerConfig, reports: mpsc::Sender<Report>) -> Self {
        let (jobs, queue) = mpsc::channel(16);
        let (number, numbers) = watch::channel(config.revocation_number);
        let config = Arc::new(config);
        let back = Arc::new(Notify::new());
        let mut tasks = Vec::new();
        if config.holds_requests {
            let (config, numbers) = (config.clone(), numbers.clone());
            tasks.push(tokio::spawn(hold(config, numbers, reports.clone(), back.clone())));
        }
        tasks.push(tokio::spawn(work(config, queue, numbers, reports, back)));
        Self { jobs, number, tasks }
    }

    /// Never waits: the queue holds more than there are kinds of jobs, and only a worker that is far behind
    /// fills it; what is lost then is asked for again by the node.
    pub fn submit(&self, job: Job) {
        match job {
            Job::RevocationsAt(number) => {
                self.number
                    .send_if_modified(|known| std::mem::replace(known, number) != number);
            }
            job => {
                let _ = self.jobs.try_send(job);
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// What is still to be done.
#[derive(Default)]
struct Pending {
    renew: bool,
    publish: Option<Box<Bundle>>,
    directory: bool,
    revocations: bool,
}

impl Pending {
    fn add(&mut self, job: Job) {
        match job {
            Job::Renew => self.renew = true,
            Job::Publish(bundle) => self.publish = Some(bundle),
            Job::FetchDirectory => self.directory = true,
            Job::FetchRevocations => self.revocations = true,
            Job::RevocationsAt(_) => {}
        }
    }

    fn is_empty(&self) -> bool {
        !self.renew && self.publish.is_none() && !self.directory && !self.revocations
    }
}

async fn work(
    config: Arc<WorkerConfig>,
    mut queue: mpsc::Receiver<Job>,
    numbers: watch::Receiver<u64>,
    reports: mpsc::Sender<Report>,
    back: Arc<Notify>,
) {
    let mut pending = Pending::default();
    let mut failures = 0;
    let mut retry_at = Instant::now();
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(job) => pending.add(job),
                None => return,
            },
            () = tokio::time::sleep_until(retry_at), if !pending.is_empty() => {}
            () = back.notified(), if failures > 0 => retry_at = Instant::now(),
        }
        while let Ok(job) = queue.try_recv() {
            pending.add(job);
        }
        if Instant::now() < retry_at {
            continue;
        }
        match attempt(&config, &mut pending, &numbers, &reports).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::debug!(%error, failures, "registry");
                retry_at = Instant::now() + random::back_off(failures, FIRST_RETRY, LAST_RETRY);
                if reports.send(Report::Failed(error)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Does what is pending, until the first failure. A job that the registry refuses is not repeated until the node
/// asks again; one that failed otherwise stays.
async fn attempt(
    config: &WorkerConfig,
    pending: &mut Pending,
    numbers: &watch::Receiver<u64>,
    reports: &mpsc::Sender<Report>,
) -> Result<(), RegistryError> {
    let (client, network) = (&config.client, &config.network);
    if pending.directory {
        let result = client.directory(network, SAMPLE).await;
        pending.directory = wants_retry(&result);
        let Timed {
            value: (bundles, revocations),
            registry_time,
        } = result?;
        tell(reports, reachable(registry_time)).await;
        tell(reports, Report::Directory(bundles, Box::new(revocations))).await;
    }
    if pending.revocations {
        let after = *numbers.borrow();
        let result = client.revocations(network, after, Duration::ZERO).await;
        pending.revocations = wants_retry(&result);
        let Timed { value, registry_time } = result?;
        tell(reports, reachable(registry_time)).await;
        if value.number > after {
            tell(reports, Report::Revocations(Box::new(value))).await;
        }
    }
    if let Some(bundle) = pending.publish.take() {
        let result = client.publish(&bundle).await;
        if wants_retry(&result) {
            pending.publish = Some(bundle);
        }
        result?;
        tell(reports, Report::Reachable { skew: None }).await;
    }
    if pending.renew {
        let result = client.renew(&network.root).await;
        pending.renew = wants_retry(&result);
        let Timed { value, registry_time } = result?;
        tell(reports, reachable(registry_time)).await;
        tell(reports, Report::Renewed(Box::new(value))).await;
    }
    Ok(())
}

fn wants_retry<T>(result: &Result<T, RegistryError>) -> bool {
    matches!(
        result,
        Err(RegistryError::Unreachable(_) | RegistryError::NotProtected(_) | RegistryError::Invalid(_))
    )
}

fn reachable(registry_time: u64) -> Report {
    let skew = (registry_time as i64).saturating_sub(crate::clock::unix_time().0 as i64);
    Report::Reachable { skew: Some(skew) }
}

/// The control task reads these; when it has ended, there is nobody to tell.
async fn tell(reports: &mpsc::Sender<Report>, report: Report) {
    let _ = reports.send(report).await;
}

async fn hold(
    config: Arc<WorkerConfig>,
    mut number: watch::Receiver<u64>,
    reports: mpsc::Sender<Report>,
    back: Arc<Notify>,
) {
    let mut failures = 0;
    loop {
        let began = Instant::now();
        let after = *number.borrow_and_update();
        match config.client.revocations(&config.network, after, HOLD).await {
            Ok(Timed {
                value: list,
                registry_time,
            }) => {
                if std::mem::take(&mut failures) > 0 {
                    back.notify_one();
                }
                tell(&reports, reachable(registry_time)).await;
                let newer = list.number > after;
                if newer {
                    tell(&reports, Report::Revocations(Box::new(list))).await;
                }
                // With a newer one, the node says when it has taken it.
                let pause = HOLD_LEAST.saturating_sub(began.elapsed());
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    changed = number.changed(), if newer => {
                        if changed.is_err() {
                            return;
                        }
                    }
                }
            }
            Err(error) => {
                failures += 1;
                if reports.send(Report::Failed(error)).await.is_err() {
                    return;
                }
                tokio::time::sleep(random::back_off(failures, FIRST_RETRY, LAST_HOLD_RETRY)).await;
            }
        }
    }
}
