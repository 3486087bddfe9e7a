//! Several threads read one source, work side by side, and let out what became of it in the order of their reads.

use std::{
    cell::Cell,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
};

/// Of one source.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Reads so far. Held while somebody reads.
    reads: Mutex<u64>,
    leaving: Mutex<Leaving>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct Leaving {
    /// The read whose turn it is.
    next: u64,
    /// Threads that wait for theirs.
    waiting: usize,
}

/// A read's place in the order. The reads after it wait until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket<'o> {
    order: &'o Order,
    number: u64,
    arrived: Cell<bool>,
}

impl Order {
    /// Reads once nobody else does. A read that finds nothing takes no place.
    pub(super) fn read<T, E>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<(T, Ticket<'_>), E> {
        self.take(lock(&self.reads), read)
    }

    /// The same, or nothing at all while somebody else reads.
    pub(super) fn try_read<T, E>(
        &self,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<(T, Ticket<'_>), E>> {
        let reads = match self.reads.try_lock() {
            Ok(reads) => reads,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(self.take(reads, read))
    }

    fn take<T, E>(
        &self,
        mut reads: MutexGuard<'_, u64>,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<(T, Ticket<'_>), E> {
        let what = read()?;
        let number = *reads;
        *reads += 1;
        let ticket = Ticket {
            order: self,
            number,
            arrived: Cell::new(false),
        };
        Ok((what, ticket))
    }
}

impl Ticket<'_> {
    /// Waits until everything that was read before has left.
    pub(super) fn wait(&self) {
        if self.arrived.replace(true) {
            return;
        }
        let mut leaving = lock(&self.order.leaving);
        while leaving.next != self.number {
            leaving.waiting += 1;
            leaving = self
                .order
                .left
                .wait(leaving)
                .unwrap_or_else(PoisonError::into_inner);
            leaving.waiting -= 1;
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.wait();
        let mut leaving = lock(&self.order.leaving);
        leaving.next += 1;
        if leaving.waiting > 0 {
            self.order.left.notify_all();
        }
    }
}

/// Numbers are whole whatever happened while they were held.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::{sync::atomic::*, thread};

    #[test]
    fn what_is_read_in_turn_leaves_in_turn_however_long_each_takes() {
        let (order, source) = (Order::default(), AtomicU64::new(0));
        let out = Mutex::new(Vec::new());
        let worker = |number: usize| {
            let read = || match source.fetch_add(1, Ordering::Relaxed) {
                n if n < 4000 => Ok(n),
                _ => Err(()),
            };
            loop {
                let got = match number % 2 {
                    0 => order.read(read),
                    _ => match order.try_read(read) {
                        Some(got) => got,
                        None => continue,
                    },
                };
                let Ok((n, ticket)) = got else { return };
                // Work of different length.
                (0..(n * 7919) % 500).for_each(|_| std::hint::spin_loop());
                if n % 3 == 0 {
                    ticket.wait();
                    out.lock().unwrap().push(n);
                    ticket.wait();
                    out.lock().unwrap().push(n);
                } else if n % 3 == 1 {
                    ticket.wait();
                    out.lock().unwrap().push(n);
                }
            }
        };
        thread::scope(|scope| {
            for number in 0..4 {
                scope.spawn(move || worker(number));
            }
        });
        let expected = (0..4000).flat_map(|n| vec![n; [2, 1, 0][n as usize % 3]]);
        assert_eq!(out.into_inner().unwrap(), expected.collect::<Vec<u64>>());
    }

    #[test]
    fn nobody_reads_beside_a_reader_and_empty_reads_hold_nobody_up() {
        let order = Order::default();
        let (_, first) = order
            .read(|| {
                assert!(order.try_read(|| Ok::<_, ()>(())).is_none());
                Ok::<_, ()>(())
            })
            .unwrap();
        assert!(order.read(|| Err::<(), _>(())).is_err());
        let (_, second) = order.try_read(|| Ok::<_, ()>(())).unwrap().unwrap();
        drop(first);
        second.wait();
    }
}
