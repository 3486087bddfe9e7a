//! Plays a case.

use crate::case::{Case, Deed, Memory, PREFIXES, Violation};
use crate::names::{NAMES, address, prefix, router_id};
use crate::observer::Tally;
use crate::said::Said;
use crate::settle::{self, Settled};
use crate::world::World;
use core::net::Ipv6Addr;
use osier_babel::wire::{Builder, SeqnoRequest};
use osier_babel::{InterfaceId, Speaker};
use std::rc::Rc;

#[derive(Clone, Debug)]
pub struct Outcome {
    pub events: u64,
    /// A digest of all packets: the same for the same case.
    pub trace: u64,
    pub violation: Option<Violation>,
    /// Steps that were begun before it ended.
    pub steps: usize,
    pub tally: Tally,
    pub settled: Option<Settled>,
}

pub fn run(case: &Case) -> Outcome {
    let mut world = World::new(case);
    let mut steps = 0;
    let mut settled = None;
    let result = play(case, &mut world, &mut steps).and_then(|()| {
        if case.settle {
            settled = Some(settle::settle(&mut world, case)?);
        }
        Ok(())
    });
    Outcome {
        events: world.events,
        trace: world.trace,
        violation: result.err(),
        steps,
        tally: world.observer.tally,
        settled,
    }
}

fn play(case: &Case, world: &mut World, steps: &mut usize) -> Result<(), Violation> {
    for (node, prefix, metric) in &case.origins {
        world.nodes[*node].originates[*prefix] = Some(*metric);
    }
    for (node, spec) in case.nodes.iter().enumerate() {
        world.bear(node, spec.seqno)?;
    }
    for step in &case.steps {
        *steps += 1;
        world.run_until(world.now.saturating_add(step.wait_us))?;
        world.events += 1;
        world.tell(|| format!("{:?}", step.deed));
        befall(case, world, &step.deed)?;
    }
    Ok(())
}

fn befall(case: &Case, world: &mut World, deed: &Deed) -> Result<(), Violation> {
    let (node, link, _) = deed.names();
    let slot = match (node, link) {
        (Some(node), Some(link)) => match world.links[link].slot(node) {
            Some(slot) => slot,
            None => return Ok(()),
        },
        _ => 0,
    };
    match *deed {
        Deed::Block { link, from, to, on } => {
            let here = &mut world.links[link];
            if let (Some(from), Some(to)) = (here.slot(from), here.slot(to)) {
                here.blocked[from * here.spec.members.len() + to] = on;
            }
        }
        Deed::Partition { set } => world.partition = set,
        Deed::Weather { link, weather } => world.links[link].weather = weather,
        Deed::Cost { link, node, cost } => {
            world.links[link].costs[slot] = cost;
            world.with(node, |speaker, now| speaker.set_rx_cost(id(link), cost, now))?;
        }
        Deed::Usable { link, node, usable } => {
            world.with(node, |speaker, now| {
                speaker.set_link_usable(id(link), usable, now)
            })?;
        }
        Deed::Interface { link, node, up } => interface(world, link, node, slot, up)?,
        Deed::Hello { link, node, ms } => {
            let interval = core::time::Duration::from_millis(ms);
            world.with(node, |speaker, now| {
                speaker.set_hello_interval(id(link), interval, now)
            })?;
        }
        Deed::Kill { node } => world.end_life(node),
        Deed::Stop { node } => {
            world.with(node, Speaker::retract_all)?;
            world.end_life(node);
        }
        Deed::Start { node, memory } => start(case, world, node, memory)?,
        Deed::Sleep { node } => {
            let now = world.now;
            if world.nodes[node].speaker.is_some() {
                world.nodes[node].asleep.get_or_insert(now);
                world.set_wake(node);
            }
        }
        Deed::Wake { node, clock_ran } => wake(world, node, clock_ran)?,
        Deed::Leap { node, ms } => {
            world.nodes[node].offset += ms * 1000;
            world.observer.slept(node);
            world.set_wake(node);
        }
        Deed::Announce {
            node,
            prefix: at,
            metric,
        } => {
            world.nodes[node].originates[at] = Some(metric);
            world.with(node, |speaker, now| speaker.announce(prefix(at), metric, now))?;
        }
        Deed::Withdraw { node, prefix: at } => {
            world.nodes[node].originates[at] = None;
            world.with(node, |speaker, now| speaker.withdraw(prefix(at), now))?;
        }
        Deed::Penalty { node, penalty } => {
            world.with(node, |speaker, now| speaker.set_announce_penalty(penalty, now))?;
        }
        Deed::Ask {
            node,
            link,
            prefix: at,
        } => world.with(node, |speaker, now| {
            speaker.request_route(id(link), at.map(prefix), now)
        })?,
        Deed::Storm {
            node,
            link,
            prefix,
            packets,
        } => {
            (1..=packets).for_each(|ahead| storm(world, node, link, prefix, ahead.into()));
        }
        Deed::Replay { link } => world.replay(link),
        Deed::Refuse { node, prefix: at, on } => {
            world.nodes[node].refused = world.nodes[node].refused & !(1 << at) | u8::from(on) << at;
            world.reauthorise(node)?;
        }
    }
    Ok(())
}

fn id(link: usize) -> InterfaceId {
    InterfaceId(link as u32)
}

pub(crate) fn interface(
    world: &mut World,
    link: usize,
    node: usize,
    slot: usize,
    up: bool,
) -> Result<(), Violation> {
    world.links[link].attached[slot] = up;
    if world.nodes[node].speaker.is_none() || world.nodes[node].asleep.is_some() {
        return Ok(());
    }
    if up {
        world.renew_session(link, slot)?;
        world.add_interface(node, link);
        world.drain(node, 0)
    } else {
        world.links[link].present[slot] = false;
        world.observer.interface_gone(node, link);
        world.with(node, |speaker, now| speaker.remove_interface(id(link), now))
    }
}

pub(crate) fn start(case: &Case, world: &mut World, node: usize, memory: Memory) -> Result<(), Violation> {
    world.end_life(node);
    let here = &mut world.nodes[node];
    let seqno = match memory {
        Memory::Seqno => here.saved_seqno.wrapping_add(1),
        Memory::Nothing => case.nodes[node].seqno,
        Memory::NewName => {
            here.name = (here.name + 1).min(NAMES - 1);
            case.nodes[node].seqno
        }
    };
    world.bear(node, seqno)
}

pub(crate) fn wake(world: &mut World, node: usize, clock_ran: bool) -> Result<(), Violation> {
    let now = world.now;
    let Some(since) = world.nodes[node].asleep.take() else {
        return Ok(());
    };
    if !clock_ran {
        world.nodes[node].offset -= now - since;
    }
    world.observer.slept(node);
    for link in 0..world.links.len() {
        if let Some(slot) = world.links[link].slot(node) {
            // What was attached or taken away meanwhile takes effect.
            let here = &world.links[link];
            if here.attached[slot] != here.present[slot] {
                interface(world, link, node, slot, here.attached[slot])?;
            }
            world.meet_session(link, slot)?;
        }
    }
    for at in 0..PREFIXES {
        let originates = world.nodes[node].originates[at];
        world.with(node, |speaker, now| match originates {
            Some(metric) => speaker.announce(prefix(at), metric, now),
            None => speaker.withdraw(prefix(at), now),
        })?;
    }
    world.set_wake(node);
    world.reauthorise(node)
}

/// A packet in the node's name that asks all its neighbours on the link for newer seqnos.
fn storm(world: &mut World, node: usize, link: usize, at: usize, ahead: u16) {
    if world.nodes[node].speaker.is_none() {
        return;
    }
    let mut builder = Builder::new(1200, address(node));
    for (index, origin) in world.nodes.iter().enumerate() {
        let Some(seqno) = origin.speaker.as_ref().map(Speaker::seqno) else {
            continue;
        };
        builder.seqno_request(&SeqnoRequest {
            prefix: prefix(at).prefix,
            source: prefix(at).source,
            seqno: seqno.wrapping_add(ahead),
            hop_count: 64,
            router_id: router_id(index, origin.name),
        });
    }
    let payload = builder.finish();
    if let Some(said) = Said::read(&payload, address(node)) {
        world.throw(link, node, MULTICAST, Rc::new((payload, said)));
    }
}

const MULTICAST: Ipv6Addr = osier_babel::MULTICAST;
