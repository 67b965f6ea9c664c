//! Who may connect: `max.connections`, and `max.connections.per.ip` with its overrides.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::BrokerConfig;

/// The connections of all cores, counted. Shared by them, because the kernel decides which core
/// gets a connection; locked when one begins and when it ends, never between.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_ip_max: usize,
    per_ip_overrides: Vec<(IpAddr, usize)>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// A connection that was let in; dropping it makes room for another.
#[derive(Debug)]
pub(super) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Admission {
    /// The bounds of a configuration; nobody is connected.
    pub fn new(config: &BrokerConfig) -> Arc<Admission> {
        let count = |max: i32| usize::try_from(max).unwrap_or(0);
        let network = &config.network;
        let overrides = network.connections_per_ip_overrides.iter();
        Arc::new(Admission {
            connections_max: count(network.connections_max),
            per_ip_max: count(network.connections_per_ip_max),
            per_ip_overrides: overrides.map(|(ip, max)| (*ip, count(*max))).collect(),
            counts: Mutex::default(),
        })
    }

    /// Lets a connection of `ip` in, unless it is one too many.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let mut overrides = self.per_ip_overrides.iter();
        let own = overrides.find(|(host, _)| *host == ip).map(|(_, max)| *max);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let from_ip = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if counts.all >= self.connections_max || from_ip >= own.unwrap_or(self.per_ip_max) {
            return None;
        }
        counts.all += 1;
        counts.by_ip.insert(ip, from_ip + 1);
        Some(Admitted {
            admission: self.clone(),
            ip,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let counts = self.admission.counts.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(from_ip) = counts.by_ip.get_mut(&self.ip) {
            *from_ip -= 1;
            if *from_ip == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_bounded_in_all_and_by_address() {
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        let admission = Arc::new(Admission {
            connections_max: 4,
            per_ip_max: 2,
            per_ip_overrides: vec![(ip(9), 3)],
            counts: Mutex::default(),
        });
        let mut inside: Vec<Admitted> = (0..2).filter_map(|_| admission.admit(ip(1))).collect();
        assert_eq!(inside.len(), 2);
        assert!(admission.admit(ip(1)).is_none(), "two of one address");
        inside.extend((0..2).filter_map(|_| admission.admit(ip(9))));
        assert_eq!(inside.len(), 4);
        assert!(admission.admit(ip(9)).is_none(), "four of all");
        inside.truncate(1);
        inside.extend((0..3).filter_map(|_| admission.admit(ip(9))));
        assert_eq!(inside.len(), 4);
        drop(inside);
        let counts = admission.counts.lock().expect("nobody panicked");
        assert!(counts.all == 0 && counts.by_ip.is_empty());
    }
}
