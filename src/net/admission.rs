//! Who may connect: `max.connections`, and `max.connections.per.ip` with its overrides; and which
//! core serves whom.
//!
//! The kernel deals connections to cores by a hash that knows no load. A few busy connections then
//! often share a core while others have none, so each goes to the next core in turn, but to none
//! that has two more than another already. (Not to the one with the fewest: an idle connection would keep
//! a busy one away.)

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::listener::Guest;
use crate::config::BrokerConfig;
use crate::io::mailbox::{self, MailSender, Mailbox};
use crate::limits::{CONNECTIONS_PER_CORE_MAX, GUESTS_WAITING_MAX};
use crate::model::CoreId;

/// The connections of all cores, counted. Shared by them, because the kernel decides which core
/// gets a connection; locked when one begins and when it ends, never between.
pub struct Admission {
    connections_max: usize,
    per_ip_max: usize,
    per_ip_overrides: Vec<(IpAddr, usize)>,
    counts: Mutex<Counts>,
    /// Each core takes its own.
    doors: Mutex<Vec<Option<Door>>>,
}

/// Where a core gets connections that others have accepted, and where it sends what it has.
pub(super) type Door = (Mailbox<Guest>, Vec<MailSender<Guest>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
    by_core: Vec<usize>,
    /// The core whose turn it is.
    next: usize,
}

/// A connection that was let in; dropping it makes room for another.
pub(super) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
    core: CoreId,
}

/// Which cores may serve a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    Any,
    /// The client has chosen it.
    Only(CoreId),
}

impl Admission {
    /// The bounds of a configuration, and so many cores; nobody is connected.
    pub fn new(config: &BrokerConfig, cores_count: usize) -> Arc<Admission> {
        let count = |max: i32| usize::try_from(max).unwrap_or(0);
        let network = &config.network;
        let overrides = network.connections_per_ip_overrides.iter();
        Arc::new(Admission {
            connections_max: count(network.connections_max),
            per_ip_max: count(network.connections_per_ip_max),
            per_ip_overrides: overrides.map(|(ip, max)| (*ip, count(*max))).collect(),
            counts: Mutex::new(Counts::new(cores_count)),
            doors: Mutex::new(doors(cores_count)),
        })
    }

    /// A core's door; asked for once.
    pub(super) fn door(&self, core: CoreId) -> Door {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let door = doors[usize::from(core.0)].take();
        door.expect("each core asks for its own, once")
    }

    /// Lets a connection of `ip` in, unless it is one too many.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, seat: Seat) -> Option<Admitted> {
        let mut overrides = self.per_ip_overrides.iter();
        let own = overrides.find(|(host, _)| *host == ip).map(|(_, max)| *max);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let from_ip = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if counts.all >= self.connections_max || from_ip >= own.unwrap_or(self.per_ip_max) {
            return None;
        }
        let core = counts.seat(seat)?;
        counts.all += 1;
        counts.by_ip.insert(ip, from_ip + 1);
        Some(Admitted {
            admission: self.clone(),
            ip,
            core,
        })
    }
}

fn doors(cores_count: usize) -> Vec<Option<Door>> {
    let doors = mailbox::channels(cores_count, GUESTS_WAITING_MAX);
    doors.into_iter().map(Some).collect()
}

impl Counts {
    fn new(cores_count: usize) -> Counts {
        Counts {
            all: 0,
            by_ip: HashMap::new(),
            by_core: vec![0; cores_count],
            next: 0,
        }
    }

    /// Takes a seat; none if a core may have no more.
    fn seat(&mut self, seat: Seat) -> Option<CoreId> {
        let core = match seat {
            Seat::Only(core) => usize::from(core.0),
            Seat::Any => {
                let fewest = *self.by_core.iter().min()?;
                let cores_count = self.by_core.len();
                let mut in_turn = (0..cores_count).map(|at| (self.next + at) % cores_count);
                let core = in_turn.find(|core| self.by_core[*core] <= fewest + 1)?;
                self.next = core + 1;
                core
            }
        };
        let count = &mut self.by_core[core];
        (*count < CONNECTIONS_PER_CORE_MAX).then(|| {
            *count += 1;
            CoreId(core as u16)
        })
    }
}

impl Admitted {
    /// The core that serves it.
    pub(super) fn core(&self) -> CoreId {
        self.core
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let counts = self.admission.counts.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        counts.by_core[usize::from(self.core.0)] -= 1;
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

    fn admission(connections_max: usize, per_ip_max: usize, cores_count: usize) -> Arc<Admission> {
        Arc::new(Admission {
            connections_max,
            per_ip_max,
            per_ip_overrides: vec![(ip(9), 3)],
            counts: Mutex::new(Counts::new(cores_count)),
            doors: Mutex::new(doors(cores_count)),
        })
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn connections_are_bounded_in_all_and_by_address() {
        let admission = admission(4, 2, 1);
        let admit = |ip| admission.admit(ip, Seat::Any);
        let mut inside: Vec<Admitted> = (0..2).filter_map(|_| admit(ip(1))).collect();
        assert_eq!(inside.len(), 2);
        assert!(admit(ip(1)).is_none(), "two of one address");
        inside.extend((0..2).filter_map(|_| admit(ip(9))));
        assert_eq!(inside.len(), 4);
        assert!(admit(ip(9)).is_none(), "four of all");
        inside.truncate(1);
        inside.extend((0..3).filter_map(|_| admit(ip(9))));
        assert_eq!(inside.len(), 4);
        drop(inside);
        let counts = admission.counts.lock().expect("nobody panicked");
        assert!(counts.all == 0 && counts.by_ip.is_empty() && counts.by_core == [0]);
    }

    #[test]
    fn connections_take_turns_on_the_cores_and_none_is_left_behind() {
        let admission = admission(usize::MAX, usize::MAX, 3);
        let any = || admission.admit(ip(1), Seat::Any).expect("there is room");
        let counts = || {
            admission
                .counts
                .lock()
                .expect("nobody panicked")
                .by_core
                .clone()
        };
        let idle = any();
        let busy: Vec<Admitted> = (0..6).map(|_| any()).collect();
        let cores: Vec<u16> = busy.iter().map(|one| one.core().0).collect();
        assert_eq!(cores, [1, 2, 0, 1, 2, 0], "whoever came before");
        drop((idle, busy));
        assert_eq!(counts(), [0, 0, 0]);
        let only = |core| admission.admit(ip(1), Seat::Only(CoreId(core)));
        let chosen: Vec<Admitted> = (0..5).filter_map(|_| only(0)).collect();
        assert_eq!(counts(), [5, 0, 0]);
        let others: Vec<Admitted> = (0..8).map(|_| any()).collect();
        assert_eq!(counts(), [5, 4, 4]);
        drop(chosen);
        let more: Vec<Admitted> = (0..4).map(|_| any()).collect();
        assert_eq!(counts().iter().sum::<usize>(), 12);
        assert!(counts().iter().all(|count| (3..=5).contains(count)));
        drop((others, more));
    }

    #[test]
    fn a_core_has_as_many_as_it_may_have_and_no_more() {
        let admission = admission(usize::MAX, usize::MAX, 1);
        let any = || admission.admit(ip(1), Seat::Any);
        let all: Vec<Admitted> = (0..CONNECTIONS_PER_CORE_MAX).map_while(|_| any()).collect();
        assert_eq!(all.len(), CONNECTIONS_PER_CORE_MAX);
        assert!(any().is_none() && admission.admit(ip(2), Seat::Only(CoreId(0))).is_none());
    }
}
