//! A new configuration for a running speaker. What can change does so in place: neighbours and routes stay.

use super::Mode;
use crate::babel_mode::rules::resolve;
use crate::babel_mode::{Config, Error, InterfaceOptions};
use osier_babel::filter::{Action, Filters, Subject, first_match};
use osier_babel::{AcceptAll, InterfaceId, RouteKey, RouteView, Target};
use std::collections::{BTreeMap, BTreeSet};

impl Mode {
    /// Applies what can be applied, and says what cannot.
    pub(super) async fn reload(&mut self, mut new: Config) -> Result<(), Error> {
        // A bad key file is a mistake in the configuration, and that changes nothing.
        if let Err(error) = new.mac.load() {
            tracing::error!("the configuration stays as it was: {error}");
            return Ok(());
        }
        for (name, value) in self.config.keep_fixed(&mut new) {
            tracing::warn!("`{name}` cannot change while we run and stays {value}: restart to change it");
        }
        let old = std::mem::replace(&mut self.config, new);
        if self.config.mac.is_on() || old.mac.is_on() {
            self.rekey();
        }
        let now = self.clock.now();
        for id in self.ports.keys().copied().collect::<Vec<_>>() {
            let name = self.name(id);
            let find = |config: &Config| config.interfaces.iter().find(|i| i.name == name).cloned();
            let (Some(was), Some(is)) = (find(&old), find(&self.config)) else {
                self.close(id);
                continue;
            };
            if must_restart(&was, &is) {
                tracing::warn!(interface = %name, "kind, split-horizon or rtt changed: starting anew, routes over it are learnt again");
                self.close(id);
                continue;
            }
            let (hello, update) = self.config.intervals(&is);
            let (old_hello, old_update) = old.intervals(&was);
            if hello != old_hello {
                self.speaker.set_hello_interval(id, hello, now);
            }
            if update != old_update {
                self.speaker.set_update_interval(id, update, now);
            }
            if is.rx_cost != was.rx_cost {
                self.speaker.set_rx_cost(id, is.rx_cost, now);
            }
        }
        self.refresh(&BTreeSet::new()).await?;
        self.apply_filters();
        if self.config.install_rules != old.install_rules {
            self.reinstall();
        }
        self.follow_routes().await?;
        tracing::info!("the configuration was loaded anew");
        Ok(())
    }

    /// Stops speaking on an interface.
    pub(super) fn close(&mut self, id: InterfaceId) {
        if let Some((link, _port)) = self.ports.remove(&id) {
            tracing::info!(interface = %link.name, "no longer speaking on interface");
            self.installer.doubt(id);
            self.speaker.remove_interface(id, self.clock.now());
        }
    }

    /// Puts the rules in force, by the numbers that interfaces have now.
    pub(super) fn apply_filters(&mut self) {
        let ids: BTreeMap<String, InterfaceId> = self
            .ports
            .iter()
            .map(|(id, (link, _))| (link.name.clone(), *id))
            .collect();
        let filters = Filters {
            import: resolve(&self.config.import, &ids),
            export: resolve(&self.config.export, &ids),
        };
        self.install_rules = resolve(&self.config.install_rules, &ids);
        self.speaker
            .set_filters(filters, &mut AcceptAll, self.clock.now());
    }

    /// Hands a change of a route to the kernel, unless the rules for that keep the route from it.
    pub(super) fn install(&mut self, key: RouteKey, route: Option<RouteView>, target: &Target) {
        let denied = match target {
            Target::Via {
                interface, router_id, ..
            } => {
                let subject = Subject {
                    interface: *interface,
                    neighbour: route.map(|route| route.neighbour),
                    prefix: key.prefix,
                    source: key.source,
                    router_id: *router_id,
                };
                let rule = first_match(&self.install_rules, &subject);
                rule.is_some_and(|rule| rule.action == Action::Deny)
            }
            // What was not installed need not be held either.
            Target::Unreachable => self.not_installed.contains(&key),
            Target::Gone => false,
        };
        if denied {
            self.not_installed.insert(key);
            self.installer.want(key, &Target::Gone);
        } else {
            self.not_installed.remove(&key);
            self.installer.want(key, target);
        }
    }

    /// Every selected route by the rules of now.
    fn reinstall(&mut self) {
        let selected: Vec<RouteView> = self.speaker.routes().filter(|route| route.selected).collect();
        for route in selected {
            let target = Target::Via {
                interface: route.interface,
                next_hop: route.next_hop,
                metric: route.metric,
                router_id: route.router_id,
                seqno: route.seqno,
            };
            let key = RouteKey {
                prefix: route.prefix,
                source: route.source,
            };
            self.install(key, Some(route), &target);
        }
    }
}

/// What an interface can change only by starting anew.
fn must_restart(was: &InterfaceOptions, is: &InterfaceOptions) -> bool {
    (was.kind, was.split_horizon, was.rtt) != (is.kind, is.split_horizon, is.rtt)
}
