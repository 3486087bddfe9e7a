//! Import and export rules in running networks, and what a route's standing says about it.

#![allow(clippy::unwrap_used)]

mod net;

use net::{Net, prefix, router_id};
use osier_babel::filter::{Action, Filters, PrefixRange, Rule};
use osier_babel::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const ADD: Action = Action::Accept { add: 500 };

fn about(node: usize, action: Action) -> Rule {
    Rule {
        prefix: Some(PrefixRange::new(prefix(node), None, None).unwrap()),
        ..Rule::new(action)
    }
}

fn import(rules: Vec<Rule>) -> Filters {
    Filters {
        import: rules,
        export: vec![],
    }
}

fn export(rules: Vec<Rule>) -> Filters {
    Filters {
        import: vec![],
        export: rules,
    }
}

fn set(net: &mut Net, node: usize, filters: Filters) {
    net.with(node, |speaker, now| {
        speaker.set_filters(filters, &mut AcceptAll, now)
    });
}

fn line(nodes: usize) -> Net {
    let links: Vec<_> = (1..nodes).map(|n| (n - 1, n)).collect();
    let mut net = Net::started(nodes, &links, 1);
    net.run_until(SECOND * 10, Net::is_optimal).unwrap();
    net
}

fn standing(net: &Net, node: usize, to: usize) -> Vec<Standing> {
    let routes = net.speaker(node).routes().filter(|r| r.prefix == prefix(to));
    routes.map(|r| r.standing).collect()
}

#[test]
fn a_prefix_denied_on_import_is_not_used_nor_passed_on_until_the_rule_goes() {
    let mut net = line(3);
    set(&mut net, 1, import(vec![about(2, Action::Deny)]));
    assert_eq!(net.next_hop(1, &prefix(2)), None);
    assert_eq!(standing(&net, 1, 2), [Standing::Filtered]);
    let gone = net.run_until(SECOND, |net| net.next_hop(0, &prefix(2)).is_none());
    assert!(gone.is_some());
    assert_eq!(net.next_hop(0, &prefix(1)), Some(1), "others are untouched");
    let held: Vec<_> = net.speaker(1).held().map(|held| held.prefix).collect();
    assert_eq!(held, [prefix(2)]);
    // Refreshes do not bring it back, the rule's end does, and at once.
    net.run_for(SECOND * 200);
    assert_eq!(net.next_hop(1, &prefix(2)), None);
    assert!(net.speaker(1).counters().filtered_updates > 0);
    set(&mut net, 1, Filters::default());
    assert_eq!(net.next_hop(1, &prefix(2)), Some(2));
    assert!(net.run_until(SECOND, Net::is_optimal).is_some());
}

#[test]
fn a_prefix_denied_on_export_is_retracted_and_announced_again() {
    let mut net = line(3);
    set(
        &mut net,
        1,
        export(vec![about(2, Action::Deny), about(1, Action::Deny)]),
    );
    let gone = net.run_until(SECOND, |net| {
        [1, 2].iter().all(|to| net.next_hop(0, &prefix(*to)).is_none())
    });
    assert!(gone.is_some());
    assert_eq!(net.next_hop(1, &prefix(2)), Some(2), "it uses the route itself");
    set(&mut net, 1, Filters::default());
    assert!(net.run_until(SECOND, Net::is_optimal).is_some());
}

#[test]
fn rules_are_for_one_interface_one_neighbour_and_one_origin() {
    let mut net = line(3);
    let only = |change: fn(&mut Rule)| {
        let mut rule = Rule::new(Action::Deny);
        change(&mut rule);
        rule
    };
    let rules = [
        only(|r| r.interface = Some(InterfaceId(1))),
        only(|r| r.neighbour = Some(net::address(2))),
        only(|r| r.router_id = Some(router_id(2))),
    ];
    for rule in rules {
        set(&mut net, 1, import(vec![rule]));
        assert_eq!(net.next_hop(1, &prefix(2)), None);
        assert_eq!(net.next_hop(1, &prefix(0)), Some(0));
        set(&mut net, 1, Filters::default());
        net.run_until(SECOND * 10, Net::is_optimal).unwrap();
    }
    set(
        &mut net,
        1,
        export(vec![only(|r| r.interface = Some(InterfaceId(0)))]),
    );
    net.run_for(SECOND);
    assert_eq!(
        (net.next_hop(0, &prefix(2)), net.next_hop(2, &prefix(1))),
        (None, Some(1))
    );
}

#[test]
fn what_a_rule_adds_moves_traffic_to_another_path() {
    let mut net = Net::started(3, &[(0, 1), (1, 2), (0, 2)], 1);
    net.run_until(SECOND * 10, Net::is_optimal).unwrap();
    set(
        &mut net,
        0,
        import(vec![Rule {
            interface: Some(InterfaceId(2)),
            ..about(2, ADD)
        }]),
    );
    net.run_for(SECOND * 30);
    assert_eq!(net.next_hop(0, &prefix(2)), Some(1));
    assert_eq!(
        standing(&net, 0, 2),
        [Standing::Selected, Standing::WorseMetric { best: 192 }]
    );
    // The way back is the same network seen from the other side: node 2 asks for less of it.
    set(
        &mut net,
        2,
        export(vec![Rule {
            interface: Some(InterfaceId(1)),
            ..about(2, ADD)
        }]),
    );
    net.run_for(SECOND * 30);
    assert_eq!(
        net.next_hop(1, &prefix(2)),
        Some(2),
        "596 by the direct link, 692 round the other way"
    );
    let metric = net.speaker(1).selected(prefix(2)).unwrap().metric;
    assert_eq!(metric, 596);
}

#[test]
fn standing_tells_what_is_in_the_way() {
    let mut net = Net::started(3, &[(0, 1), (1, 2), (0, 2)], 1);
    net.run_until(SECOND * 10, Net::is_optimal).unwrap();
    net.run_for(SECOND * 60);
    // Node 1's way to node 2 is as long as ours or longer: never a detour without a newer seqno.
    let seen = standing(&net, 0, 2);
    assert_eq!(
        seen.iter().filter(|s| **s == Standing::Selected).count(),
        1,
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .any(|s| matches!(s, Standing::Unfeasible { distance: 96, .. })),
        "{seen:?}"
    );
    net.with(0, |speaker, now| {
        speaker.set_link_usable(InterfaceId(0), false, now)
    });
    assert!(standing(&net, 0, 2).contains(&Standing::LinkDown));
    net.with(0, |speaker, now| speaker.announce(prefix(2), 0, now));
    assert!(standing(&net, 0, 2).iter().all(|s| *s == Standing::OwnPrefix));
}

#[derive(Clone, Debug)]
struct Change {
    node: usize,
    about: usize,
    link: Option<u32>,
    action: Option<u16>,
    export: bool,
}

fn change() -> impl Strategy<Value = Change> {
    let action = prop::option::of(0..400u16);
    (
        0..5usize,
        0..5usize,
        prop::option::of(0..6u32),
        action,
        any::<bool>(),
    )
        .prop_map(|(node, about, link, action, export)| Change {
            node,
            about,
            link,
            action,
            export,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The net checks for loops after every change of a route.
    #[test]
    fn changing_rules_make_no_loop_and_without_rules_all_paths_are_shortest_again(
        changes in prop::collection::vec((change(), 0..4000u64), 1..24), seed in any::<u64>(),
    ) {
        let mut net = Net::started(5, &[(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (1, 3)], seed);
        net.run_for(SECOND * 5);
        let mut rules = vec![Filters::default(); 5];
        for (change, wait) in changes {
            let rule = Rule {
                interface: change.link.map(InterfaceId),
                ..about(change.about, change.action.map_or(Action::Deny, |add| Action::Accept { add }))
            };
            let filters = &mut rules[change.node];
            let list = if change.export { &mut filters.export } else { &mut filters.import };
            list.insert(0, rule);
            set(&mut net, change.node, rules[change.node].clone());
            net.run_for(Duration::from_millis(wait));
        }
        for node in 0..5 {
            set(&mut net, node, Filters::default());
        }
        prop_assert!(net.run_until(SECOND * 60, Net::is_converged).is_some());
        prop_assert!(net.run_until(SECOND * 600, Net::is_optimal).is_some());
    }
}
