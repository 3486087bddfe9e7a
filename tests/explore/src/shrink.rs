//! Makes a case that goes wrong as small as it will go: fewer steps first, then fewer nodes, links and origins,
//! then plainer weather, costs and waits. What still goes wrong in the same way is kept.

use crate::case::{Case, Deed, Kind, LinkSpec, Weather};
use crate::run::run;

/// Runs that the search may take.
const MAX_RUNS: usize = 4_000;

struct Search<'a> {
    best: Case,
    kind: Kind,
    runs: usize,
    progress: &'a mut dyn FnMut(usize, &Case),
}

/// The smallest case found that violates the same as `case` does; `None` when it violates nothing.
pub fn shrink(case: &Case, progress: &mut dyn FnMut(usize, &Case)) -> Option<Case> {
    let outcome = run(case);
    let kind = outcome.violation?.kind;
    let mut search = Search {
        best: case.clone(),
        kind,
        runs: 1,
        progress,
    };
    let mut early = case.clone();
    early.steps.truncate(outcome.steps);
    search.offer(early.clone());
    early.settle = false;
    search.offer(early);
    loop {
        let before = search.best.clone();
        search.fewer_steps();
        search.smaller_network();
        search.plainer();
        if search.best == before || search.runs >= MAX_RUNS {
            return Some(search.best);
        }
    }
}

impl Search<'_> {
    /// Keeps a candidate that still goes wrong.
    fn offer(&mut self, candidate: Case) -> bool {
        if candidate == self.best || self.runs >= MAX_RUNS {
            return false;
        }
        self.runs += 1;
        let outcome = run(&candidate);
        let kept = outcome.violation.is_some_and(|found| found.kind == self.kind);
        if kept {
            self.best = candidate;
            self.best.steps.truncate(outcome.steps);
            (self.progress)(self.runs, &self.best);
        }
        kept
    }

    /// Leaves out halves, quarters, … single steps. The waits of those left out are kept, if that helps.
    fn fewer_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = self.best.steps.len();
            while at > 0 {
                at = at.saturating_sub(size);
                let mut shorter = self.best.clone();
                let end = (at + size).min(shorter.steps.len());
                let waited: u64 = shorter.steps.drain(at..end).map(|step| step.wait_us).sum();
                if self.offer(shorter.clone()) {
                    continue;
                }
                if let Some(next) = shorter.steps.get_mut(at) {
                    next.wait_us += waited;
                    self.offer(shorter);
                }
                at = at.min(self.best.steps.len());
            }
            size /= 2;
        }
    }

    fn smaller_network(&mut self) {
        for node in (0..self.best.nodes.len()).rev() {
            if self.best.nodes.len() > 1 {
                let smaller = without_node(&self.best, node);
                self.offer(smaller);
            }
        }
        for link in (0..self.best.links.len()).rev() {
            let smaller = without_link(&self.best, link);
            self.offer(smaller);
        }
        for link in (0..self.best.links.len()).rev() {
            for member in (0..self.best.links[link].members.len()).rev() {
                if self.best.links[link].members.len() > 2 {
                    let mut smaller = self.best.clone();
                    smaller.links[link].members.remove(member);
                    smaller.links[link].costs.remove(member);
                    self.offer(smaller);
                }
            }
        }
        for origin in (0..self.best.origins.len()).rev() {
            let mut smaller = self.best.clone();
            smaller.origins.remove(origin);
            self.offer(smaller);
        }
    }

    fn plainer(&mut self) {
        for link in 0..self.best.links.len() {
            let plain: [fn(&mut LinkSpec); 9] = [
                |link| link.weather = Weather::FINE,
                |link| link.weather.copies = 0,
                |link| link.weather.loss = 0,
                |link| link.weather.jitter_us = 0,
                |link| link.costs.fill(96),
                |link| link.etx = false,
                |link| link.rtt = false,
                |link| link.mac = false,
                |link| link.ipv4 = false,
            ];
            for change in plain {
                let mut plainer = self.best.clone();
                change(&mut plainer.links[link]);
                self.offer(plainer);
            }
        }
        for origin in 0..self.best.origins.len() {
            let mut plainer = self.best.clone();
            plainer.origins[origin].2 = 0;
            self.offer(plainer);
        }
        for step in 0..self.best.steps.len() {
            let wait = self.best.steps[step].wait_us;
            for plain in [0, wait / 1_000_000 * 1_000_000, wait / 10_000 * 10_000, wait / 2] {
                let mut plainer = self.best.clone();
                plainer.steps[step].wait_us = plain;
                if plain < wait && self.offer(plainer) {
                    break;
                }
            }
        }
    }
}

fn without_link(case: &Case, link: usize) -> Case {
    let mut smaller = case.clone();
    smaller.links.remove(link);
    smaller.steps.retain(|step| step.deed.names().1 != Some(link));
    for step in &mut smaller.steps {
        rename(&mut step.deed, |l| l - usize::from(l > link), |node| node);
    }
    smaller
}

fn without_node(case: &Case, node: usize) -> Case {
    let mut smaller = case.clone();
    smaller.nodes.remove(node);
    smaller.origins.retain(|origin| origin.0 != node);
    let involved = |deed: &Deed| match *deed {
        Deed::Block { from, to, .. } => from == node || to == node,
        _ => deed.names().0 == Some(node),
    };
    smaller.steps.retain(|step| !involved(&step.deed));
    for link in &mut smaller.links {
        if let Some(slot) = link.members.iter().position(|member| *member == node) {
            link.members.remove(slot);
            link.costs.remove(slot);
        }
    }
    for link in (0..smaller.links.len()).rev() {
        if smaller.links[link].members.len() < 2 {
            smaller = without_link(&smaller, link);
        }
    }
    let number = |n: usize| n - usize::from(n > node);
    for link in &mut smaller.links {
        link.members
            .iter_mut()
            .for_each(|member| *member = number(*member));
    }
    smaller
        .origins
        .iter_mut()
        .for_each(|origin| origin.0 = number(origin.0));
    for step in &mut smaller.steps {
        rename(&mut step.deed, |link| link, number);
        if let Deed::Partition { set } = &mut step.deed {
            let low = (1 << node) - 1;
            *set = *set & low | *set >> 1 & !low;
        }
    }
    smaller
}

fn rename(deed: &mut Deed, new_link: impl Fn(usize) -> usize, new_node: impl Fn(usize) -> usize) {
    if let Deed::Block { from, to, .. } = deed {
        (*from, *to) = (new_node(*from), new_node(*to));
    }
    match deed {
        Deed::Block { link, .. } | Deed::Weather { link, .. } | Deed::Replay { link } => {
            *link = new_link(*link);
        }
        Deed::Cost { link, node, .. }
        | Deed::Usable { link, node, .. }
        | Deed::Interface { link, node, .. }
        | Deed::Hello { link, node, .. }
        | Deed::Ask { link, node, .. }
        | Deed::Storm { link, node, .. } => (*link, *node) = (new_link(*link), new_node(*node)),
        Deed::Kill { node }
        | Deed::Stop { node }
        | Deed::Start { node, .. }
        | Deed::Sleep { node }
        | Deed::Wake { node, .. }
        | Deed::Leap { node, .. }
        | Deed::Penalty { node, .. }
        | Deed::Announce { node, .. }
        | Deed::Withdraw { node, .. }
        | Deed::Refuse { node, .. } => *node = new_node(*node),
        Deed::Partition { .. } => {}
    }
}
